//! The machine's end of the line to the host.

use std::io::{self, BufRead as _};

use crate::wire::{Command, Word};

/// Says something that needs no answer.
pub fn tell(word: &Word) {
    println!("{word}");
}

/// Says something, and waits until the host has heard it. False where it wants no more of that.
pub fn may(word: &Word) -> bool {
    match ask(word).as_str() {
        "go" => true,
        "stop" => false,
        other => panic!("{word} was answered {other:?}"),
    }
}

/// Waits for a command.
pub fn command() -> Command {
    serde_json::from_str(&ask(&Word::Next)).unwrap()
}

fn ask(word: &Word) -> String {
    assert!(word.waits(), "{word}");
    // One question at a time: an answer belongs to the question before it.
    let mut answers = io::stdin().lock();
    tell(word);
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    line.trim().to_owned()
}
