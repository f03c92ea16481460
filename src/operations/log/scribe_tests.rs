//! With outputs that hang.

use std::fs;
use std::time::Instant;

use super::*;
use crate::operations::log::file::LogFile;

fn to(path: std::path::PathBuf) -> Opening {
    Box::new(move || {
        let (file, opened) = LogFile::new(&path, Form::Human, None);
        (Output::File(Box::new(file)), opened)
    })
}

#[test]
fn a_line_is_there_when_it_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let scribe = Scribe::start(Form::Human).unwrap();
    scribe.turn_to(to(path.clone()), false).unwrap();
    for number in 0..200 {
        let line = format!("{number}\n");
        scribe.put(line.as_bytes());
        let hangs = scribe.0.lock().hangs;
        assert!(hangs || fs::read_to_string(&path).unwrap().ends_with(&line));
    }
}

#[test]
fn another_file_is_taken_only_where_it_can_be_opened_or_one_insists() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("a"), folder.path().join("no/b"));
    let scribe = Scribe::start(Form::Human).unwrap();
    scribe.turn_to(to(good.clone()), false).unwrap();
    scribe.turn_to(to(bad.clone()), false).unwrap_err();
    scribe.put(b"one\n");
    assert_eq!(fs::read_to_string(&good).unwrap(), "one\n");
    scribe.turn_to(to(bad.clone()), true).unwrap_err();
    scribe.put(b"two\n");
    assert_eq!(fs::read_to_string(&good).unwrap(), "one\n");
}

#[test]
fn an_output_that_hangs_holds_up_one_line_for_a_moment_and_then_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let scribe = Scribe::start(Form::Human).unwrap();
    scribe.turn_to(to(path.clone()), false).unwrap();
    // The thread waits in there, as it would in a dead file system.
    let (release, hold) = sync_channel::<()>(0);
    let next = to(path.clone());
    let stuck: Opening = Box::new(move || {
        let _ = hold.recv();
        next()
    });
    let (done, opened) = sync_channel(1);
    scribe.0.lock().order = Some(Order {
        opening: stuck,
        insist: false,
        done,
    });
    scribe.put(b"wakes it\n");
    scribe.put(b"first\n");
    assert!(scribe.0.lock().hangs);
    let long = vec![b'x'; 64 << 10];
    let begun = Instant::now();
    for _ in 0..100 {
        scribe.put(&long);
    }
    // A hundred moments would be ten seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let lost = scribe.0.lock().lost;
    assert!((80..=100).contains(&lost), "{lost}");

    drop(release);
    opened
        .recv_timeout(Duration::from_secs(20))
        .unwrap()
        .unwrap();
    let said = || fs::read_to_string(&path).unwrap();
    let begun = Instant::now();
    while !said().contains("too slow") && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(said().starts_with("wakes it\nfirst\n"));
    assert!(said().contains(&format!(
        "WARN {lost} lines of the log after this one are lost"
    )));
    scribe.put(b"last\n");
}
