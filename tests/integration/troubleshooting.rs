//! What `docs/troubleshooting.md` says that the product says, it says.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// All of the product's source, with texts that go over several lines on one.
fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else {
            let mut lines = fs::read_to_string(&path).unwrap();
            while let Some(at) = lines.find("\\\n") {
                let rest = lines[at + 2..].trim_start().to_owned();
                lines.replace_range(at.., &rest);
            }
            text.push_str(&lines);
        }
    }
}

#[test]
fn every_message_is_one_of_ours() {
    let mut text = String::new();
    source(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut text,
    );
    let mut messages = 0;
    for line in PAGE.lines() {
        let Some(rest) = line.strip_prefix("| `") else {
            continue;
        };
        let (message, _) = rest.split_once("` |").unwrap();
        assert!(text.contains(message), "nothing says {message:?} any more");
        messages += 1;
    }
    assert!(messages > 30, "{messages}");
}
