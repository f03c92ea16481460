//! Pause records: what is held, written down before it is held, for whoever comes after a crash.
//!
//! `<folder of db_file>/pauses/<kind>-<name>` is locked (`flock`) by the guard that it belongs to
//! for as long as that lives. It appears empty, by a link, so that there is one for each domain;
//! it gets its content, one line of JSON, before the first pause call. So: locked means that a
//! guard takes care; not locked and without a whole line, that nothing was held; not locked with
//! a line, that something may still be.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::line::Task;
use crate::sys::flock::Flock;

/// Before the name of one that has not got its own name yet.
const FRESH: &str = ".new-";
/// Longer than a living guard leaves it so.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// What is held. Of a pause, the programs are the one that paused.
    pub(super) task: Task,
    /// `/proc/sys/kernel/random/boot_id`; empty where there is none. After another boot no domain
    /// is what it was.
    pub(super) boot: String,
    /// On the monotonic clock, when the pause was called for.
    pub(super) monotonic: Duration,
    /// The longest time that it is held.
    pub(super) max_pause: Duration,
    /// When it was written, for people.
    pub(super) at: jiff::Timestamp,
    /// The guard's process id, for people.
    pub(super) guard: u32,
}

/// A record that is locked by this process.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    file: File,
    _lock: Flock,
}

/// The name of a task's record. Two tasks with one name exclude each other.
fn name_of(task: &Task) -> String {
    let (kind, name) = match task {
        Task::Pause { domain, .. } => ("pause", domain),
        Task::Command { vm_id, .. } => ("command", vm_id),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() <= 100 && name.bytes().all(plain) {
        return format!("{kind}-{name}");
    }
    let sum: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{kind}-sha256-{sum}")
}

impl Record {
    /// Takes the place of a task. None where a living guard or a record of a dead one has it.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn claim(folder: &Path, task: &Task) -> io::Result<Option<Record>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let path = folder.join(name_of(task));
        let fresh = folder.join(format!("{FRESH}{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        let lock = Flock::try_exclusive(file.try_clone()?)?
            .ok_or_else(|| io::Error::other("a new file is locked by somebody else"))?;
        let linked = fs::hard_link(&fresh, &path);
        let removed = fs::remove_file(&fresh);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        }
        removed?;
        sync_folder(folder)?;
        if let Some(above) = folder.parent() {
            sync_folder(above)?;
        }
        Ok(Some(Record {
            path,
            file,
            _lock: lock,
        }))
    }

    /// Writes the content to the device.
    ///
    /// # Errors
    /// The file system's: then it counts as empty.
    pub(super) fn fill(&mut self, content: &Content) -> io::Result<()> {
        let mut line = serde_json::to_vec(content)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_all()
    }

    /// What it says; None where nothing was held.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::InvalidData`] for a whole line that is no content.
    pub(super) fn read(&mut self) -> io::Result<Option<Content>> {
        content_of(&self.file)
    }

    /// Removes it: nothing is held any more.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks a file of the folder. None where its guard lives, or where it is gone.
    fn lock(path: &Path) -> io::Result<Option<Record>> {
        let file = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let Some(lock) = Flock::try_exclusive(file.try_clone()?)? else {
            return Ok(None);
        };
        // Its guard may have removed it between the two calls.
        if file.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        Ok(Some(Record {
            path: path.to_owned(),
            file,
            _lock: lock,
        }))
    }
}

fn content_of(file: &File) -> io::Result<Option<Content>> {
    let mut line = Vec::new();
    file.take(1 << 20).read_to_end(&mut line)?;
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// What a look into the folder finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The records that no living guard has.
    pub(super) left: Vec<Record>,
    /// Whether there are others. A guard that has just been killed may hold its lock for a moment.
    pub(super) living: bool,
}

/// Looks for records. What is not one, and is nobody's, is removed on the way.
///
/// # Errors
/// The file system's. A folder that is not there holds none.
pub(super) fn look(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let items = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for item in items {
        let item = item?;
        if !item.file_type()?.is_file() {
            continue;
        }
        let name = item.file_name();
        let name = name.to_string_lossy();
        let Some(record) = Record::lock(&item.path())? else {
            found.living = true;
            continue;
        };
        if name.starts_with(FRESH) {
            // A younger one may be about to be locked by its guard.
            let age = record.file.metadata()?.modified()?.elapsed();
            if age.is_ok_and(|age| age > FRESH_FOR) {
                record.remove()?;
            }
        } else if is_named_so(&name) {
            found.left.push(record);
        }
    }
    Ok(found)
}

/// The record of one task, if no living guard has it.
///
/// # Errors
/// The file system's.
pub(super) fn left_behind_of(folder: &Path, task: &Task) -> io::Result<Option<Record>> {
    Record::lock(&path_of(folder, task))
}

/// Where the record of a task lies, where there is one.
pub(super) fn path_of(folder: &Path, task: &Task) -> PathBuf {
    folder.join(name_of(task))
}

/// Whether this is how records are named.
pub(super) fn is_named_so(name: &str) -> bool {
    name.starts_with("pause-") || name.starts_with("command-")
}

/// Reads what a record says without taking it: it may be a living guard's.
///
/// # Errors
/// As [`Record::read`] has.
pub(super) fn peek(path: &Path) -> io::Result<Option<Content>> {
    content_of(&File::open(path)?)
}

/// What is said of a record that cannot be understood. It names no machine for certain, so nothing
/// is let go of because of it.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!(
        "the pause record {} cannot be read ({error}), so whether a machine is still held because \
         of it cannot be told. See that the machine of that name runs (`xm list` shows \"p\" for one \
         that is paused, `xm unpause` ends that), or run after_snapshot for a record of commands; \
         then remove the file",
        path.display()
    )
}

/// What is said where a task's record cannot be opened.
pub(super) fn not_opened(folder: &Path, task: &Task, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotADirectory {
        return no_folder(folder, error);
    }
    unreadable(&path_of(folder, task), error)
}

/// What is said of a place of the records that is none.
pub(super) fn no_folder(folder: &Path, error: &io::Error) -> String {
    format!(
        "{} is where pause records are kept, and cannot be used: {error}. No machine can be held \
         for a snapshot until it is a directory that this program can write to; moved away, it is \
         made anew",
        folder.display()
    )
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The id of this boot; empty where the kernel does not tell.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The monotonic clock, the same for every process since the boot.
pub(super) fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(domain: &str) -> Task {
        Task::Pause {
            domain: domain.to_owned(),
            programs: vec!["/usr/sbin/xm".into()],
        }
    }

    fn content(domain: &str) -> Content {
        Content {
            task: task(domain),
            boot: boot_id(),
            monotonic: monotonic(),
            max_pause: Duration::from_secs(5),
            at: jiff::Timestamp::now(),
            guard: std::process::id(),
        }
    }

    #[test]
    fn one_at_a_time_for_each_domain() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("pauses");
        let record = Record::claim(&folder, &task("a")).unwrap().unwrap();
        assert!(Record::claim(&folder, &task("a")).unwrap().is_none());
        let other = Record::claim(&folder, &task("b")).unwrap().unwrap();
        record.remove().unwrap();
        assert!(Record::claim(&folder, &task("a")).unwrap().is_some());
        // What a dead guard has left keeps its place.
        assert!(Record::claim(&folder, &task("a")).unwrap().is_none());
        drop(other);
        let mode = fs::metadata(&folder).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn only_what_no_guard_has_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut living = Record::claim(folder, &task("living")).unwrap().unwrap();
        living.fill(&content("living")).unwrap();
        let mut dead = Record::claim(folder, &task("dead")).unwrap().unwrap();
        dead.fill(&content("dead")).unwrap();
        drop(dead);
        drop(Record::claim(folder, &task("early")).unwrap().unwrap());
        for (name, age) in [(".new-1", 100), (".new-2", 0)] {
            let file = File::create(folder.join(name)).unwrap();
            let then = std::time::SystemTime::now() - Duration::from_secs(age);
            file.set_modified(then).unwrap();
        }
        fs::write(folder.join("notes.txt"), "not ours").unwrap();
        fs::create_dir(folder.join("pause-folder")).unwrap();
        let found = look(folder).unwrap();
        assert!(found.living);
        let mut left = found.left;
        left.sort_by(|one, other| one.path().cmp(other.path()));
        let read: Vec<_> = left.iter_mut().map(|one| one.read().unwrap()).collect();
        let [Some(dead), None] = &read[..] else {
            panic!("{read:?}");
        };
        assert_eq!(dead.task, task("dead"));
        assert!(!folder.join(".new-1").exists());
        assert!(folder.join(".new-2").exists());
        assert!(folder.join("notes.txt").exists());
        assert!(left_behind_of(folder, &task("living")).unwrap().is_none());
        assert!(left_behind_of(folder, &task("none")).unwrap().is_none());
    }

    #[test]
    fn half_a_line_means_that_nothing_was_held() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::claim(folder.path(), &task("a")).unwrap().unwrap();
        record.fill(&content("a")).unwrap();
        let path = record.path().to_owned();
        drop(record);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let mut record = look(folder.path()).unwrap().left.remove(0);
            assert_eq!(record.read().unwrap(), None, "{length}");
        }
        fs::write(&path, "{}\n").unwrap();
        let error = look(folder.path()).unwrap().left.remove(0).read();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn any_name_of_a_domain_is_a_file_name() {
        for name in ["../../etc/passwd", "a b", "", &"x".repeat(300), "ä/\n"] {
            let name = name_of(&task(name));
            assert!(!name.contains(['/', '\n']), "{name}");
            assert!(name.len() < 200, "{name}");
        }
        assert_ne!(name_of(&task("a b")), name_of(&task("a_b")));
    }
}
