//! On real files, with a clock that is handed in.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const ROTATION: Rotation = Rotation {
    size: 4096,
    keep: Keep {
        files: 3,
        age: Duration::from_secs(28 * 24 * 3600),
    },
};

const NOT_NOW: Result<(), Unwritten> = Err(Unwritten { trouble: None });

fn log(path: &Path) -> LogFile {
    LogFile::new(path, Form::Human, Some(ROTATION)).0
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn line(number: u32) -> Vec<u8> {
    format!("{number:0>1023}\n").into_bytes()
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(second)).unwrap()
}

#[test]
fn it_is_rotated_at_its_size_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = log(&path);
    for number in 0..14 {
        log.append(&line(number), at(number)).unwrap();
    }
    // Four lines a file: names sort by time, the one that is written to comes last.
    let names = names(folder.path());
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(names[3], "a.log");
    let all: String = names
        .iter()
        .map(|name| {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.len() <= 4096, "{name}");
            text
        })
        .collect();
    let expected: Vec<u8> = (0..14).flat_map(line).collect();
    assert_eq!(all.as_bytes(), expected);
    for number in 14..18 {
        log.append(&line(number), at(number)).unwrap();
    }
    let later = super::tests::names(folder.path());
    assert_eq!(later.len(), 4, "three are kept: {later:?}");
    assert!(!later.contains(&names[0]), "the oldest is gone: {later:?}");
}

#[test]
fn a_new_one_has_owner_and_mode_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = log(&path);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777 & !0o640, 0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o626)).unwrap();
    for number in 0..5 {
        log.append(&line(number), at(number)).unwrap();
    }
    assert_eq!(names(folder.path()).len(), 2);
    // Also what the process masks for new files (022 as a rule).
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o626);
}

#[test]
fn what_somebody_else_moved_away_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = log(&path);
    for number in 0..4 {
        log.append(&line(number), at(number)).unwrap();
    }
    fs::rename(&path, folder.path().join("a.log.1")).unwrap();
    fs::write(&path, "another's\n").unwrap();
    log.append(&line(4), at(4)).unwrap();
    assert_eq!(names(folder.path()), ["a.log", "a.log.1"]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("another's\n") && text.ends_with("4\n"),
        "{text}"
    );
}

#[test]
fn one_that_was_emptied_is_not_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = log(&path);
    for number in 0..4 {
        log.append(&line(number), at(number)).unwrap();
    }
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    log.append(&line(4), at(4)).unwrap();
    assert_eq!(names(folder.path()), ["a.log"]);
    assert_eq!(fs::read(&path).unwrap(), line(4));
}

#[test]
fn where_it_cannot_be_renamed_it_grows_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = log(&path);
    // All names that a rotation at this moment could take.
    for milliseconds in 0..100 {
        let at = at(4)
            .checked_add(Duration::from_millis(milliseconds))
            .unwrap();
        let name = backups::name("a.log".as_ref(), at).unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    log.rotation.as_mut().unwrap().keep.files = 0;
    for number in 0..6 {
        log.append(&line(number), at(4)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("cannot rotate").count(), 1, "{text}");
    assert_eq!(text.lines().filter(|line| line.len() == 1023).count(), 6);
}

#[test]
fn lost_lines_are_counted_and_told_when_the_file_can_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    // Every write there: no space left on device.
    symlink("/dev/full", &path).unwrap();
    let mut full = log(&path);
    let trouble = full.append(b"one\n", at(0)).unwrap_err().trouble.unwrap();
    assert!(trouble.contains("No space left"), "{trouble}");
    assert!(trouble.contains(path.to_str().unwrap()), "{trouble}");
    assert_eq!(full.append(b"two\n", at(1)), NOT_NOW, "said once");

    fs::remove_file(&path).unwrap();
    let (mut log, opened) = LogFile::new(&path, Form::Json, Some(ROTATION));
    opened.unwrap();
    log.succeed(&mut full);
    log.append(b"three\n", at(2)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (notice, three) = text.split_once('\n').unwrap();
    assert_eq!(three, "three\n");
    let notice: serde_json::Value = serde_json::from_str(notice).unwrap();
    let message = notice["message"].as_str().unwrap();
    assert_eq!(
        message,
        "2 lines of the log before this one are lost here: standard error got them"
    );
    assert_eq!(notice["level"], "WARN");
}

#[test]
fn a_file_that_cannot_be_opened_is_tried_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not there").join("a.log");
    let (mut log, opened) = LogFile::new(&path, Form::Human, Some(ROTATION));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("cannot open log_file"), "{error}");
    assert_eq!(log.append(b"one\n", at(0)), NOT_NOW);
    fs::create_dir(path.parent().unwrap()).unwrap();
    assert_eq!(log.append(b"two\n", at(1)), NOT_NOW, "not at once");
    assert!(!path.exists());
    log.next_open = Some(Instant::now());
    log.append(b"three\n", at(2)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("WARN 2 lines of the log"), "{text}");
    assert!(text.ends_with("\nthree\n"), "{text}");
}

#[test]
fn one_that_was_removed_is_known_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let log = log(&path);
    assert!(!log.is_nameless());
    fs::rename(&path, folder.path().join("b.log")).unwrap();
    assert!(!log.is_nameless(), "moved");
    fs::remove_file(folder.path().join("b.log")).unwrap();
    assert!(log.is_nameless());
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (_, opened) = LogFile::new(&path, Form::Human, Some(ROTATION));
    opened.unwrap_err();
    let _reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut log = log(&path);
    let told = (0..200).filter_map(|number| log.append(&line(number), at(number)).err()?.trouble);
    assert_eq!(told.count(), 1, "until it is full");
}

#[test]
fn too_old_ones_go_when_the_log_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("a-2020-01-01T00-00-00.000.log");
    let others = folder.path().join("a-old.log");
    fs::write(&old, "").unwrap();
    fs::write(&others, "").unwrap();
    log(&folder.path().join("a.log"));
    assert_eq!(names(folder.path()), ["a-old.log", "a.log"]);
}

impl LogFile {
    /// It may be tried again now.
    pub(in crate::operations::log) fn be_due(&mut self) {
        self.next_open = Some(Instant::now());
    }
}
