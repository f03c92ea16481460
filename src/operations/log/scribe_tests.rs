//! With outputs that hang.

use std::fs;

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
        asked: Instant::now(),
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

fn writer(path: &std::path::Path) -> (Writer, Shared) {
    let (file, opened) = LogFile::new(path, Form::Human, None);
    opened.unwrap();
    let output = Output::File(Box::new(file));
    (Writer::beginning_with(output), Shared::default())
}

fn order(path: &std::path::Path, asked: Instant) -> Order {
    Order {
        opening: to(path.to_owned()),
        insist: false,
        asked,
        done: sync_channel(1).0,
    }
}

#[test]
fn one_that_cannot_be_opened_is_taken_as_soon_as_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("a"), folder.path().join("not there/b"));
    let (mut writer, shared) = writer(&old);
    writer.obey(order(&new, Instant::now()), &shared);
    assert_eq!(shared.lock().in_use.file.as_ref(), Some(&old));
    writer.write(b"one\n");
    fs::create_dir(new.parent().unwrap()).unwrap();
    assert!(!writer.try_again(), "not at once");
    writer.wished.as_mut().unwrap().be_due();
    assert!(writer.try_again());
    writer.write(b"two\n");
    assert!(!writer.try_again(), "once");
    assert_eq!(fs::read_to_string(&old).unwrap(), "one\n");
    let said = fs::read_to_string(&new).unwrap();
    let (notice, line) = said.split_once('\n').unwrap();
    assert_eq!(line, "two\n");
    assert!(
        notice.contains("only now") && notice.contains(old.to_str().unwrap()),
        "{notice}"
    );
    assert_eq!(writer.output.in_use().file, Some(new));
}

#[test]
fn what_is_wished_for_is_forgotten_for_what_is_asked_for_next() {
    let folder = tempfile::tempdir().unwrap();
    let [old, next] = ["a", "b"].map(|name| folder.path().join(name));
    let wished = folder.path().join("not there/c");
    let (mut writer, shared) = writer(&old);
    writer.obey(order(&wished, Instant::now()), &shared);
    assert!(writer.wished.is_some());
    writer.obey(order(&next, Instant::now()), &shared);
    assert!(writer.wished.is_none());
    assert_eq!(shared.lock().in_use.file.as_ref(), Some(&next));
    // The first of two that wait for a file system.
    shared.lock().order = Some(order(&next, Instant::now()));
    writer.obey(order(&old, Instant::now()), &shared);
    assert_eq!(shared.lock().in_use.file.as_ref(), Some(&next));
}

#[test]
fn an_order_that_nobody_waits_for_any_more_tells_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["a", "b"].map(|name| folder.path().join(name));
    let Some(long_ago) = Instant::now().checked_sub(PATIENCE) else {
        panic!("this machine has just been started");
    };
    let (mut writer, shared) = writer(&old);
    writer.obey(order(&folder.path().join("not there/c"), long_ago), &shared);
    let said = fs::read_to_string(&old).unwrap();
    assert!(
        said.contains("not there/c") && said.contains("tried again"),
        "{said}"
    );
    writer.obey(order(&new, long_ago), &shared);
    let said = fs::read_to_string(&new).unwrap();
    assert!(said.contains("only now"), "{said}");
    assert_eq!(shared.lock().in_use.file, Some(new));
}
