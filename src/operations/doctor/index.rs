//! The index, `db_file`: on a local file system, and an intact SQLite database. It is only read.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::finding::{Finding, bytes};
use super::round::Notes;
use crate::snapshots::former;
use crate::sys::file_system;

const CHECK: &str = "index";
/// First bytes of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// An index takes some kilobytes a snapshot.
const ROOM: u64 = 16 << 20;

pub(super) fn check(notes: &Notes, db_file: &Path) {
    notes.doing("looking at db_file");
    for finding in judge(db_file) {
        notes.found(finding.of(db_file.display()));
    }
}

fn judge(db_file: &Path) -> Vec<Finding> {
    let folder = match db_file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let status = File::open(folder).and_then(|folder| file_system::status(&folder));
    let mut findings = Vec::new();
    match status {
        Err(error) => {
            let message = format!("its folder cannot be looked at: {error}");
            return vec![Finding::bad(
                CHECK,
                message,
                "make the folder, or set another db_file",
            )];
        }
        Ok(status) if status.kind.is_shared() => {
            let message = format!(
                "it lies on {}, which other nodes may write too",
                status.kind
            );
            return vec![Finding::bad(
                CHECK,
                message,
                "set db_file to a local file system",
            )];
        }
        Ok(status) if status.read_only => findings.push(Finding::warning(
            CHECK,
            "its file system is mounted read-only: the index is kept in memory",
            "mount it writable, then restart the daemon",
        )),
        Ok(status) if status.available < ROOM => findings.push(Finding::warning(
            CHECK,
            format!("its file system has only {} left", bytes(status.available)),
            "make room: without it the index is kept in memory",
        )),
        Ok(_) => {}
    }
    findings.push(content(db_file));
    findings
}

fn content(db_file: &Path) -> Finding {
    let again = "none: the daemon sets it aside at its start, and fills a new one";
    let mut head = Vec::new();
    match File::open(db_file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::good(CHECK, "not made yet: the daemon does at its start");
        }
        Err(error) => {
            let message = format!("it cannot be opened: {error}");
            return Finding::bad(CHECK, message, "run as root; see that it is a file");
        }
        Ok(file) => {
            let read = file.take(16).read_to_end(&mut head);
            if let Err(error) = read {
                let message = format!("it cannot be read: {error}");
                return Finding::bad(CHECK, message, "see whether the device is sick");
            }
        }
    }
    if !head.is_empty() && head != MAGIC {
        if !former::is_foreign(db_file).unwrap_or(true) {
            return Finding::warning(CHECK, "it is no index", again);
        }
        return Finding::bad(
            CHECK,
            "it is no index, and the daemon does not start with it",
            "set db_file to another path, or move this file away",
        );
    }
    let log = beside(db_file, "-wal");
    let is_in_use = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    let memory = beside(db_file, "-shm");
    if is_in_use && !memory.exists() {
        // To read it, SQLite would have to make a file.
        return Finding::good(CHECK, "its last changes are taken up at the next start");
    }
    match quick_check(db_file, is_in_use) {
        Ok(word) if word == "ok" => Finding::good(CHECK, "intact"),
        Ok(word) => Finding::warning(CHECK, format!("it is damaged: {word}"), again),
        Err(error) => Finding::warning(CHECK, format!("it cannot be used: {error}"), again),
    }
}

/// SQLite's word on it. Where nobody uses it, SQLite is told that nobody will: then it makes no
/// files beside.
fn quick_check(db_file: &Path, is_in_use: bool) -> rusqlite::Result<String> {
    let mode = if is_in_use { "mode=ro" } else { "immutable=1" };
    let uri = format!("file:{}?{mode}", escaped(db_file));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)?
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// A path in SQLite's URI: `%`, `?` and `#` would end it or mean something.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23")
}

fn beside(db_file: &Path, suffix: &str) -> PathBuf {
    let mut name = db_file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade::{Bad, Good, Warning};
    use super::*;

    #[test]
    fn an_index_is_looked_at_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("an index?.db");
        let grade = || judge(&path).last().unwrap().clone();
        assert_eq!(grade().grade, Good, "{:?}", grade());
        let index = Connection::open(&path).unwrap();
        index.pragma_update(None, "journal_mode", "wal").unwrap();
        index
            .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
            .unwrap();
        assert_eq!(grade().message, "intact");
        index.close().unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(grade().message, "intact");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), before);
        // The table's page, not the header's.
        let mut broken = before.clone();
        broken[4096..].fill(0xAB);
        fs::write(&path, broken).unwrap();
        assert_eq!(grade().grade, Warning, "{:?}", grade());
        fs::write(&path, [0xAB; 100]).unwrap();
        assert_eq!(grade().message, "it is no index");
        fs::write(&path, "a Bolt file, maybe, of the first generation").unwrap();
        assert_eq!(
            grade().message,
            "it is no index, and the daemon does not start with it"
        );
        assert_eq!(judge(Path::new("/nowhere/x.db"))[0].grade, Bad);
    }
}
