//! The mark of a file that is written to in place, as long as it holds neither what it held before
//! nor what it shall hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sys::durable::{sync_directory, write_beside};

/// `.NAME.diff` beside the file `NAME`. It is there before the first byte is written, and goes when
/// the last one is on stable storage: that of an increment when all disks have theirs, so that no
/// other increment follows on some of them.
#[derive(Debug)]
pub struct Mark {
    folder: PathBuf,
    name: String,
}

/// What is being written to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The snapshot that the file held; None where all of it is written anew.
    pub base: Option<Uuid>,
    /// The snapshot that it shall hold.
    pub snapshot: Uuid,
}

impl Mark {
    /// That of the file at a path.
    pub fn of(path: &Path) -> Mark {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Mark {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            name: format!(".{name}.diff"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// # Errors
    /// Where something else than this is half written to the file: only the same again makes it
    /// whole. To write all of it anew is always allowed, and not asked about here.
    pub fn admits(&self, deed: Deed, file: &Path) -> anyhow::Result<()> {
        let (mark, file) = (self.path(), file.display());
        let anew = "download a whole snapshot, without --diff-from";
        let bytes = match fs::read(&mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", mark.display()))?,
        };
        let Ok(found) = serde_json::from_slice::<Deed>(&bytes) else {
            bail!(
                "{file} is half written, and {} does not say with what: {anew}",
                mark.display()
            );
        };
        let snapshot = found.snapshot;
        match found.base {
            _ if found == deed => Ok(()),
            Some(base) => bail!(
                "{file} is on the way from snapshot {base} to {snapshot} and may hold neither, as an \
                 earlier run did not end: download {snapshot} with --diff-from {base} again, or \
                 {anew}"
            ),
            None => bail!(
                "{file} holds a part of snapshot {snapshot} only, as an earlier run did not end: \
                 {anew}"
            ),
        }
    }

    /// Leaves it, durably.
    pub fn leave(&self, deed: Deed) -> io::Result<()> {
        let mut text = serde_json::to_vec(&deed).map_err(io::Error::other)?;
        text.push(b'\n');
        write_beside(&self.folder, &self.name, &text)
            .and_then(|beside| beside.put_in_place())
            .map_err(|error| self.failed("write", &error))
    }

    /// Takes it away, durably, where there is one.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| sync_directory(&self.folder))
                .map_err(|error| self.failed("remove", &error)),
        }
    }

    fn failed(&self, deed: &str, error: &io::Error) -> io::Error {
        let text = format!("cannot {deed} {}: {error}", self.path().display());
        io::Error::new(error.kind(), text)
    }
}
