//! Commands that are mentioned in a sentence or a table: their words exist.

use std::process::Command;

use super::{block, documents, root};

const DAEMON: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");
const COMMAND: &str = env!("CARGO_BIN_EXE_ovm-exporter");

/// What stands between backquotes, outside of code blocks.
fn spans(text: &str) -> Vec<String> {
    let outside: Vec<&str> = text.split("```").step_by(2).collect();
    let mut found = Vec::new();
    for part in outside {
        let inside = part.split('`').skip(1).step_by(2);
        found.extend(inside.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    found
}

/// What a program says about the subcommand that these words begin with, and the options in them.
fn help(program: &str, words: &str) -> Option<(String, Vec<String>)> {
    let subcommand = words.split(' ').take_while(|word| {
        word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    });
    let output = Command::new(program)
        .args(subcommand)
        .arg("--help")
        .output()
        .unwrap();
    let options = words.split(' ').filter_map(|word| {
        let word = word.trim_matches(['[', ']']);
        word.starts_with("--")
            .then(|| word.split('=').next().unwrap_or_default().to_owned())
    });
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| (text, options.collect()))
}

#[track_caller]
fn assert_known(file: &str, program: &str, words: &str) {
    let Some((text, options)) = help(program, words) else {
        panic!("{file}: {program} does not know {words:?}");
    };
    for option in options {
        assert!(
            text.contains(&option),
            "{file}: {words:?}: no {option} in {text}"
        );
    }
}

#[test]
fn what_is_mentioned_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let mut mentioned = 0;
    for (file, text) in documents() {
        for span in spans(&text) {
            let span = span.trim_start_matches("target/debug/");
            if let Some(target) = span.strip_prefix("make ") {
                let target = target.split(' ').next().unwrap_or_default();
                let is_there = makefile.lines().any(|line| {
                    let names = line.split(':').next().unwrap_or_default();
                    line.contains(':') && names.split(' ').any(|name| name == target)
                });
                assert!(is_there, "{file}: {span}");
            } else if let Some(words) = span.strip_prefix("coriolis-ovm-exporter ") {
                assert_known(&file, DAEMON, words);
            } else if let Some(words) = span.strip_prefix("ovm-exporter ") {
                assert_known(&file, COMMAND, words);
            } else {
                continue;
            }
            mentioned += 1;
        }
    }
    println!("{mentioned}");
    assert!(mentioned > 30, "{mentioned}");
    assert!(help(COMMAND, "unheard-of").is_none());
}

/// The table of subcommands: in a row, later names may go without the first one's first word.
#[test]
fn the_table_of_subcommands_is_right() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("| subcommand | |\n").unwrap();
    let rows = rest
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let mut subcommands = 0;
    for row in rows {
        let row = row.replace("\\|", "/");
        let cell = row.split('|').nth(1).unwrap();
        let spans = spans(cell);
        let first = spans[0].split(' ').next().unwrap();
        for span in &spans {
            let whole = match help(COMMAND, span) {
                Some(_) => span.clone(),
                None => format!("{first} {span}"),
            };
            assert_known("README.md", COMMAND, &whole);
            subcommands += 1;
        }
    }
    assert!(subcommands > 12, "{subcommands}");
    // It is the table below this block.
    assert!(block("README.md", "The command").contains("ovm-exporter vms list"));
}
