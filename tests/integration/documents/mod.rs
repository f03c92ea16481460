//! What the documents have people type, is typed by a test: each code block is claimed by whoever runs
//! it, and a claim is the very call that takes the block's text out of the document:
//!
//! | where | claim |
//! | --- | --- |
//! | `tests/integration`, `python/tests` | `block("README.md", "Signing in")` |
//! | `scripts` | `block README.md "On a node"` |
//!
//! There is no list of exceptions.

mod commands;
mod mentioned;
mod replica;

use std::fs;
use std::path::{Path, PathBuf};

/// Languages of blocks that hold no commands.
const DATA: [&str; 3] = ["ini", "json", "text"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The first code block below a heading of a document.
fn block(file: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut blocks = blocks(file, &text).into_iter();
    let found = blocks.find(|block| block.heading == heading);
    found
        .unwrap_or_else(|| panic!("{file} has no code below {heading:?}"))
        .text
}

/// A fenced block.
struct Block {
    file: String,
    /// The nearest one above.
    heading: String,
    language: String,
    text: String,
}

fn blocks(file: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let text: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            found.push(Block {
                file: file.to_owned(),
                heading: heading.clone(),
                language: language.split(',').next().unwrap_or_default().to_owned(),
                text: text.join("\n"),
            });
        } else if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
    }
    found
}

/// All files below a folder with one of these endings. What tools have put there is left out.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Every document, as its name and its text.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(root(), &[".md"], &mut found);
    found.sort();
    let named = found.into_iter().map(|path| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        (name.to_owned(), fs::read_to_string(&path).unwrap())
    });
    named.collect()
}

/// Whatever `make test` and `.ci/run` call, as path and text.
fn callers() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join("tests/integration"), &[".rs"], &mut found);
    files(&root().join("python/tests"), &[".py"], &mut found);
    files(&root().join("scripts"), &[".sh"], &mut found);
    let read = found.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    });
    read.collect()
}

/// A script that nobody calls claims nothing.
fn is_called(script: &Path, all: &[(PathBuf, String)]) -> bool {
    let name = format!("scripts/{}", script.file_name().unwrap().to_str().unwrap());
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    makefile.contains(&name)
        || all.iter().any(|(path, text)| {
            path != script
                && path.extension() == script.extension()
                && text.contains(&name)
                && is_called(path, all)
        })
}

#[test]
fn every_code_block_is_run_by_somebody() {
    let callers = callers();
    let mut runs = 0;
    for (file, text) in documents() {
        let mut seen: Vec<String> = Vec::new();
        for block in blocks(&file, &text) {
            let Block {
                heading, language, ..
            } = &block;
            if DATA.contains(&language.as_str()) {
                continue;
            }
            assert!(
                ["sh", "rust", "python"].contains(&language.as_str()),
                "{file}, {heading}: {language:?} is sh, rust or python, or one of {DATA:?}"
            );
            // A claim names no more than the heading.
            assert!(
                !seen.contains(heading),
                "{file}: two blocks below {heading:?}"
            );
            seen.push(heading.clone());
            let called = format!("block(\"{}\", \"{heading}\")", block.file);
            let typed = format!("block {} \"{heading}\"", block.file);
            let by = callers.iter().find(|(path, text)| match path.extension() {
                Some(kind) if kind == "sh" => text.contains(&typed) && is_called(path, &callers),
                _ => text.contains(&called) && !path.ends_with("documents/mod.rs"),
            });
            let (path, _) = by.unwrap_or_else(|| {
                panic!("nothing runs what {file} has below {heading:?}: {called}, or in a script: {typed}")
            });
            println!("{file}, {heading}: {}", path.display());
            runs += 1;
        }
    }
    assert!(runs >= 8, "{runs}");
}

/// A block's commands, without comments at their ends. One that goes on ends in `|` or `\`.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut command = String::new();
    for line in text.lines() {
        let line = line.split("  #").next().unwrap_or_default().trim_end();
        command += line;
        command.push('\n');
        if !line.ends_with(['|', '\\']) {
            found.push(command.trim().to_owned());
            command.clear();
        }
    }
    found
}

#[test]
fn blocks_and_commands_are_found() {
    let text = "# One\n\n```sh\n# no heading\na   # said\nb |\n  c\n```\n## Two\n- in a list:\n  ```rust,no_run\n  x\n  ```\n";
    let found = blocks("x.md", text);
    let shown: Vec<_> = found
        .iter()
        .map(|block| (block.heading.as_str(), block.language.as_str()))
        .collect();
    assert_eq!(shown, [("One", "sh"), ("Two", "rust")]);
    assert_eq!(commands(&found[0].text), ["# no heading", "a", "b |\n  c"]);
}
