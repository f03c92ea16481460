use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{ReplicaState, STATE_VERSION, StateStore};
use crate::sys::durable::write_beside;
use crate::sys::flock::Flock;
use crate::sys::regular_file;

/// The largest state that is read: one of a thousand disks is not half a megabyte.
const LARGEST: u64 = 16 << 20;

/// A state in a file of its own: replaced whole, and written out before a run goes on.
///
/// Beside `name` lies `name.lock`, which is locked (`flock`) for as long as this is open, so that
/// no two runs work on one replica. It stays there.
#[derive(Debug)]
pub struct StateFile {
    directory: PathBuf,
    name: String,
    _lock: Flock,
}

impl StateFile {
    /// Opens the state at a path, which need not be there yet. Its directory has to be.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where another run has it; [`io::ErrorKind::InvalidData`] for
    /// what is no state; the file system's.
    pub fn open(path: impl AsRef<Path>) -> io::Result<StateFile> {
        let path = std::path::absolute(path.as_ref())?;
        let failed = |deed: &str, error: io::Error| {
            let text = format!("{}: cannot {deed}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it names no file");
            return Err(failed("keep the state there", error));
        };
        let Some(name) = name.to_str() else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "its name is no UTF-8");
            return Err(failed("keep the state there", error));
        };
        let mut beside = OsString::from(&path);
        beside.push(".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A pipe of that name would be waited for.
            .custom_flags(libc::O_NONBLOCK)
            .open(&beside)
            .and_then(Flock::try_exclusive)
            .map_err(|error| failed("lock it", error))?;
        let Some(lock) = lock else {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "{}: another run works with this state; wait for that one to end",
                    path.display()
                ),
            ));
        };
        let file = StateFile {
            directory: directory.to_owned(),
            name: name.to_owned(),
            _lock: lock,
        };
        // What cannot be used is said before anything is done.
        file.load()?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    fn failed(&self, deed: &str, error: io::Error) -> io::Error {
        let text = format!("{}: cannot {deed}: {error}", self.path().display());
        io::Error::new(error.kind(), text)
    }
}

impl StateStore for StateFile {
    fn load(&self) -> io::Result<Option<ReplicaState>> {
        let bytes = match regular_file::read(&self.path(), LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| self.failed("read it", error))?,
        };
        let refused = |why: String| {
            let text = format!("{}: {why}", self.path().display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        // The version before all else: a newer form need not look like ours.
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        let no_state = |error: serde_json::Error| {
            refused(format!(
                "this is no state of a replica: {error}; put back what was there, or remove it \
                 and copy everything anew"
            ))
        };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(no_state)?;
        if version > STATE_VERSION {
            return Err(refused(format!(
                "it was written by a newer release (version {version}, known is {STATE_VERSION}); \
                 use that one"
            )));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(no_state)
    }

    fn save(&self, state: &ReplicaState) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(state).map_err(io::Error::other)?;
        text.push(b'\n');
        write_beside(&self.directory, &self.name, &text)
            .and_then(|beside| beside.put_in_place())
            .map_err(|error| self.failed("write it", error))
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_was_saved_is_found_again_and_nothing_lies_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        let file = StateFile::open(&path).unwrap();
        assert_eq!(file.load().unwrap(), None);
        let mut state = ReplicaState::new("vm");
        for base in [1, 2] {
            state.base = Some(uuid::Uuid::from_u128(base));
            file.save(&state).unwrap();
        }
        drop(file);
        assert_eq!(StateFile::open(&path).unwrap().load().unwrap(), Some(state));
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|item| item.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["web.json", "web.json.lock"]);
    }

    #[test]
    fn two_runs_cannot_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        let first = StateFile::open(&path).unwrap();
        let error = StateFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("web.json"), "{error}");
        drop(first);
        StateFile::open(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        for (text, said) in [
            ("", "no state"),
            ("{}", "no state"),
            (r#"{"version": 1}"#, "no state"),
            (r#"{"version": 2, "new": true}"#, "newer release"),
        ] {
            fs::write(&path, text).unwrap();
            let error = StateFile::open(&path).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("web.json"),
                "{text}: {error}"
            );
        }
        let error = StateFile::open(folder.path().join("absent/web.json")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("web.json") && error.contains("not a regular file"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(StateFile::open(&path).is_err());
        let other = folder.path().join("other.json");
        mkfifo(&folder.path().join("other.json.lock"), Mode::S_IRWXU).unwrap();
        let error = StateFile::open(&other).unwrap_err().to_string();
        assert!(error.contains("other.json: cannot lock it"), "{error}");
    }

    #[test]
    fn a_state_without_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        fs::File::create(&path)
            .unwrap()
            .set_len(LARGEST + 1)
            .unwrap();
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("web.json") && error.contains("more than"),
            "{error}"
        );
    }
}
