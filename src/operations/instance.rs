//! One daemon for each `db_file`: a lock beside it, held for as long as the daemon lives.
//!
//! A second one would not know of the first one's locks for virtual machines, and both would rewrite
//! one index. The lock is `flock` on `<db_file>.lock`, which has the daemon's process id in it for
//! people; it goes with the process, whichever way that ends, and no child inherits it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::sys::file_system;
use crate::sys::flock::Flock;

/// How long a daemon that is just ending is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(50);

/// That this process is the only daemon with its `db_file`.
#[derive(Debug)]
pub(super) struct Instance {
    /// None where there can be no lock.
    _lock: Option<Flock>,
}

impl Instance {
    /// Takes the lock. Where none can be had because of the file system, the daemon runs all the same.
    ///
    /// # Errors
    /// That another daemon has it.
    pub(super) fn claim(db_file: &Path) -> anyhow::Result<Instance> {
        let mut name = db_file.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        match lock(&path) {
            Ok(Claimed::Locked(lock)) => Ok(Instance { _lock: lock }),
            Ok(Claimed::Taken(process)) => {
                let process = process.map_or_else(
                    || "another process".to_owned(),
                    |id| format!("another daemon (process {id})"),
                );
                bail!(
                    "{process} uses db_file {}: it holds the lock {}. Stop it first, or give this \
                     one another db_file",
                    db_file.display(),
                    path.display()
                );
            }
            // The index has more to say of a folder that is not there, or not a local one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Instance { _lock: None }),
            Err(error) => {
                tracing::warn!(
                    "a second daemon with the same db_file would not be noticed: cannot lock {}: \
                     {error}",
                    path.display()
                );
                Ok(Instance { _lock: None })
            }
        }
    }
}

enum Claimed {
    Locked(Option<Flock>),
    /// By this process, where that is known.
    Taken(Option<u32>),
}

fn lock(path: &Path) -> io::Result<Claimed> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // There even a lock may hang, and the index is refused anyway.
    if file_system::status(&File::open(folder)?)?.kind.is_shared() {
        return Ok(Claimed::Locked(None));
    }
    let begun = Instant::now();
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        if let Some(lock) = Flock::try_exclusive(file.try_clone()?)? {
            // For people only: a full disk must not keep the daemon from starting.
            let _ = file.set_len(0);
            let _ = writeln!(&file, "{}", std::process::id());
            return Ok(Claimed::Locked(Some(lock)));
        }
        let holder = holder(&file);
        if let Some(id) = holder.filter(|id| is_dead(*id)) {
            tracing::warn!(
                "the daemon of before (process {id}) was killed, and waits in a call to storage that \
                 does not answer; going on beside it"
            );
            return Ok(Claimed::Locked(None));
        }
        if begun.elapsed() > PATIENCE {
            return Ok(Claimed::Taken(holder));
        }
        thread::sleep(GLANCE);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process was killed, and only has threads left that the kernel holds: it keeps its files
/// as long, and does nothing any more.
fn is_dead(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The state stands behind the name, which is in brackets.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_is_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let db_file = folder.path().join("exporter.db");
        let first = Instance::claim(&db_file).unwrap();
        let other = Instance::claim(&folder.path().join("other.db")).unwrap();
        assert!(other._lock.is_some());
        let error = Instance::claim(&db_file).unwrap_err().to_string();
        let id = std::process::id().to_string();
        for part in ["exporter.db.lock", &format!("process {id}")] {
            assert!(error.contains(part), "{error}");
        }
        drop(first);
        assert!(Instance::claim(&db_file).unwrap()._lock.is_some());
    }

    #[test]
    fn what_cannot_be_locked_keeps_no_daemon_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Instance::claim(&folder.path().join("none/exporter.db")).is_ok());
        fs::create_dir(folder.path().join("exporter.db.lock")).unwrap();
        assert!(Instance::claim(&folder.path().join("exporter.db")).is_ok());
    }
}
