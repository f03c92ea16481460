use std::os::unix::fs::PermissionsExt;

use super::*;

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

#[test]
fn a_pin_is_kept_once_and_compared_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pins");
    let (manager, other) = (
        endpoint("https://manager:7002"),
        endpoint("https://other:7002"),
    );
    let (first, second) = (Fingerprint::of(b"first"), Fingerprint::of(b"second"));

    assert_eq!(load(&file, &manager).unwrap(), None);
    assert!(keep_blocking(&file, &manager, first).unwrap());
    assert!(!keep_blocking(&file, &manager, first).unwrap());
    assert!(keep_blocking(&file, &other, second).unwrap());
    assert_eq!(load(&file, &manager).unwrap(), Some(first));
    assert_eq!(load(&file, &other).unwrap(), Some(second));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );

    let before = std::fs::read(&file).unwrap();
    let error = keep_blocking(&file, &manager, second)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&first.to_string()) && error.contains(&second.to_string()),
        "{error}"
    );
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["pins", "pins.lock"]);
}

#[test]
fn deleting_the_line_forgets_the_pin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pins");
    keep_blocking(&file, &endpoint("manager"), Fingerprint::of(b"old")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let without: String = text
        .lines()
        .filter(|l| !l.starts_with("https"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&file, without).unwrap();
    assert_eq!(load(&file, &endpoint("manager")).unwrap(), None);
}

#[test]
fn of_many_first_uses_at_once_one_wins_and_the_rest_are_compared_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pins");
    let manager = endpoint("manager");
    let winners: Vec<Fingerprint> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16_u8)
            .map(|n| {
                let (file, manager) = (&file, &manager);
                scope.spawn(move || {
                    let mine = Fingerprint::of(&[n]);
                    keep_blocking(file, manager, mine).is_ok().then_some(mine)
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(winners.len(), 1);
    assert_eq!(load(&file, &manager).unwrap(), winners.first().copied());
}

#[test]
fn a_leftover_of_a_crash_is_overwritten_with_the_right_mode() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pins");
    std::fs::write(dir.path().join("pins.new"), "half").unwrap();
    keep_blocking(&file, &endpoint("manager"), Fingerprint::of(b"x")).unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert!(load(&file, &endpoint("manager")).unwrap().is_some());
}

#[test]
fn a_broken_file_is_an_error_and_never_no_pin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pins");
    let print = Fingerprint::of(b"x");
    for (text, what) in [
        (String::new(), "first line"),
        ("\0\0\0\0".to_owned(), "first line"),
        (format!("https://manager:7002 {print}\n"), "first line"),
        (format!("{FIRST_LINE}\nhttps://manager:7002\n"), "line 2"),
        (
            format!("{FIRST_LINE}\nhttps://manager:7002 abc\n"),
            "line 2",
        ),
        (
            format!("{FIRST_LINE}\n\nhttp://manager {print}\n"),
            "line 3",
        ),
        (
            format!("{FIRST_LINE}\nmanager {print}\nhttps://manager:7002 {print}\n"),
            "two pins",
        ),
        (format!("{FIRST_LINE}\n{}", "#\n".repeat(40_000)), "larger"),
    ] {
        std::fs::write(&file, &text).unwrap();
        for error in [
            load(&file, &endpoint("manager")).unwrap_err(),
            keep_blocking(&file, &endpoint("manager"), print).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.contains(what) && error.contains("pins"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(load(&file, &endpoint("manager")).is_err());
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(load(&file, &endpoint("manager")).is_err());
}
