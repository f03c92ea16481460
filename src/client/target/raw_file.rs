use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::{Ground, in_use, invalid, refused};
use super::opening::{Found, write_zeros};
use super::place::is_not_among_snapshots;
use super::state::State;
use super::{Fingerprint, Target};
use crate::sys::durable::sync_directory;
use crate::sys::flock::Flock;
use crate::sys::{hole, page_cache};

/// A regular file, byte by byte the disk, kept sparse: zeros become holes where its file system has
/// them, and are written where it has not.
///
/// It is locked (`flock`) as long as it is open, so that no second run writes to it meanwhile.
///
/// Where a process may make no larger files (`ulimit -f`), the kernel ends it with SIGXFSZ at the first
/// write behind that. In one that ignores the signal, as the command and Python do, it is an error.
#[derive(Debug)]
pub struct RawFile {
    name: String,
    /// Absolute: the working directory may change.
    path: PathBuf,
    locked: Flock,
    state: State,
    /// Its name may be lost in a power cut.
    is_new: AtomicBool,
}

impl RawFile {
    /// Opens the file, or creates it (for its owner alone: it will hold what the disk holds).
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where another run has it open; [`io::ErrorKind::InvalidInput`]
    /// for what is no regular file, or lies among a repository's snapshots; the file system's.
    pub fn open(path: &Path) -> io::Result<RawFile> {
        let name = path.display().to_string();
        let failed = |deed: &str, error| refused(Ground::File, &name, deed, error);
        is_not_among_snapshots(path)?;
        let mut how = OpenOptions::new();
        how.read(true).write(true).mode(0o600);
        let is_new = match Found::at(path)? {
            Found::File => false,
            Found::Nothing => {
                how.create_new(true);
                true
            }
            Found::Device => {
                return Err(invalid(format!(
                    "{name}: it is a block device; open it as one"
                )));
            }
        };
        let deed = if is_new { "create it" } else { "open it" };
        let path = std::path::absolute(path).map_err(|error| failed(deed, error))?;
        let file = how.open(&path).map_err(|error| failed(deed, error))?;
        RawFile::of(name, path, file)
    }

    /// Takes a file that was just opened at a path.
    fn of(name: String, path: PathBuf, file: File) -> io::Result<RawFile> {
        let failed = |deed: &str, error| refused(Ground::File, &name, deed, error);
        let locked = Flock::try_exclusive(file).map_err(|error| failed("lock it", error))?;
        let Some(locked) = locked else {
            let text = format!(
                "{name}: another run writes to this file, or something else has locked it; wait for \
                 that one to end"
            );
            return Err(in_use(&path, text));
        };
        let found = locked
            .file()
            .metadata()
            .map_err(|error| failed("look at it", error))?;
        if !found.is_file() {
            return Err(invalid(format!("{name}: it has just become another file")));
        }
        let is_empty = found.len() == 0;
        let file = RawFile {
            name,
            path,
            locked,
            state: State::new(found.len(), is_empty),
            is_new: AtomicBool::new(is_empty),
        };
        // Whoever had it locked before may have given it another name.
        file.is_still_there()
            .map_err(|error| file.failed("lock it", error))?;
        Ok(file)
    }

    fn file(&self) -> &File {
        self.locked.file()
    }

    fn failed(&self, deed: impl Into<String>, error: io::Error) -> io::Error {
        refused(Ground::File, &self.name, deed, error)
    }

    /// Makes the file's name durable. Later flushes have nothing to do.
    fn sync_name(&self) -> io::Result<()> {
        if !self.is_new.load(Ordering::SeqCst) {
            return Ok(());
        }
        // The name may be a symbolic link, to a file in another directory.
        let path = fs::canonicalize(&self.path)?;
        match path.parent().map(sync_directory) {
            // There are file systems that know no such call for directories.
            Some(Err(error)) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
            _ => {}
        }
        self.is_new.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// # Errors
    /// Where somebody has cut the file, or made it longer: a lock keeps nobody from that who does
    /// not ask.
    fn is_whole(&self) -> io::Result<()> {
        let (found, given) = (self.file().metadata()?.len(), self.state.limit());
        if found == given {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "it has {found} bytes and was given {given}: somebody has changed its length meanwhile"
        )))
    }

    /// # Errors
    /// Where the name leads to another file now, or to none: what is written would be lost, or
    /// not be found.
    fn is_still_there(&self) -> io::Result<()> {
        let ours = self.file().metadata()?;
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Err(io::Error::other(
                "it was removed, or another file was put in its place, meanwhile",
            )),
        }
    }
}

impl Target for RawFile {
    fn size(&self) -> io::Result<u64> {
        let found = self.file().metadata();
        Ok(found
            .map_err(|error| self.failed("look at it", error))?
            .len())
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        if self.size()? != disk {
            if i64::try_from(disk).is_err() {
                return Err(invalid(format!(
                    "{}: the disk is said to have {disk} bytes; no file can have more than {}",
                    self.name,
                    i64::MAX
                )));
            }
            self.file()
                .set_len(disk)
                .map_err(|error| self.failed(format!("give it {disk} bytes"), error))?;
        }
        self.state.set_limit(disk);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len();
        self.state.check(&self.name, offset, length as u64)?;
        self.state.is_written_to();
        self.file()
            .write_all_at(bytes, offset)
            .map_err(|error| self.failed(format!("write {length} bytes at {offset}"), error))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.state.check(&self.name, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let zeroed = match hole::punch(self.file(), offset, length) {
            Ok(true) => Ok(()),
            Ok(false) => write_zeros(self.file(), offset, length),
            Err(error) => Err(error),
        };
        zeroed.map_err(|error| self.failed(format!("zero {length} bytes at {offset}"), error))
    }

    fn flush(&self) -> io::Result<()> {
        self.state.flush(&self.name, || {
            self.file()
                .sync_all()
                .and_then(|()| self.sync_name())
                .and_then(|()| self.is_still_there())
                .and_then(|()| self.is_whole())
                .map_err(|error| self.failed("bring it to stable storage", error))
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        self.state.check(&self.name, offset, length as u64)?;
        self.file()
            .read_exact_at(buffer, offset)
            .map_err(|error| self.failed(format!("read {length} bytes at {offset}"), error))
    }

    fn forget_copies(&self) -> io::Result<()> {
        page_cache::drop_clean(self.file()).map_err(|error| self.failed("read it anew", error))
    }

    fn readable(&self) -> bool {
        true
    }

    fn zeroed(&self) -> bool {
        self.state.is_blank()
    }

    /// By the open file: its name may mean another one meanwhile.
    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        let found = self.file().metadata();
        let found = found.map_err(|error| self.failed("look at it", error))?;
        Ok(Some(Fingerprint::of(&found)))
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a complete download does with its file, while the next one waits for that.
    #[test]
    fn a_file_that_got_another_name_before_it_was_locked_is_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.partial");
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let of = |file| RawFile::of("a".to_owned(), path.clone(), file);
        fs::write(&path, "complete").unwrap();
        assert!(of(open()).is_ok());
        let opened = open();
        fs::rename(&path, folder.path().join("a")).unwrap();
        let error = of(opened).unwrap_err().to_string();
        assert!(error.contains("was removed"), "{error}");
        fs::write(&path, "another").unwrap();
        let opened = open();
        fs::rename(&path, folder.path().join("a")).unwrap();
        fs::write(&path, "the next").unwrap();
        assert!(of(opened).is_err());
    }
}
