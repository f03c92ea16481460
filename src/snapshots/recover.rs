//! What a crash left is put right: at start, and again from time to time.

use std::io;

use uuid::Uuid;

use super::error::SnapshotError;
use super::locks::lock_directory;
use super::probe::SCRATCH;
use super::shelf::{Entry, Shelf, open_directory};
use super::snapshot::{Snapshot, Standing};
use super::{Snapshots, delete};
use crate::ovm::repository::Repository;
use crate::sys::flock::Flock;
use std::time::Duration;

/// What [`Snapshots::recover`] has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Snapshots that were being made and are undone.
    pub undone: Vec<Uuid>,
    /// Snapshots that were being deleted and are gone.
    pub finished: Vec<Uuid>,
    /// Directories without a name of their own that are gone.
    pub cleared: Vec<Uuid>,
}

impl Recovered {
    /// True where there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Recovered::default()
    }
}

impl Snapshots {
    /// Undoes half-made snapshots and finishes half-deleted ones, on every repository that is
    /// mounted. What somebody is working on holds a lock and is left alone.
    ///
    /// # Errors
    /// The catalog's own. What a file system refuses is logged and tried again next time.
    pub fn recover(&self) -> Result<Recovered, SnapshotError> {
        let mut recovered = Recovered::default();
        let repositories = self.repositories.repositories();
        for snapshot in self.all(None)? {
            let list = match snapshot.standing {
                Standing::Creating => &mut recovered.undone,
                Standing::Deleting => &mut recovered.finished,
                Standing::Ready | Standing::Waiting(_) | Standing::Incomplete(_) => continue,
            };
            match finish_snapshot(&snapshot) {
                Ok(true) => list.push(snapshot.id()),
                Ok(false) => {}
                Err(error) => tracing::warn!("recovery of snapshot {}: {error}", snapshot.id()),
            }
        }
        for repository in repositories
            .iter()
            .filter(|repository| repository.status().is_some())
        {
            if let Err(error) = clear(repository, &mut recovered) {
                tracing::warn!("recovery in {}: {error}", repository.mount_point.display());
            }
        }
        Ok(recovered)
    }

    /// Removes scratch files that trial clones of an earlier run have left. Only at start: a
    /// trial on another node may be under way later.
    pub fn remove_scratch(&self) {
        for repository in self.repositories.repositories() {
            if repository.status().is_some()
                && let Err(error) = Shelf::of(&repository.mount_point).remove_scratch(SCRATCH)
            {
                tracing::warn!("{}: {error}", repository.mount_point.display());
            }
        }
    }
}

/// True when it is gone, false when somebody is at work on it.
fn finish_snapshot(snapshot: &Snapshot) -> Result<bool, SnapshotError> {
    let mut locks = Vec::new();
    for (_, shelf) in snapshot.shelves() {
        match lock_directory(&shelf.directory(snapshot.id()), Duration::ZERO) {
            Ok(lock) => locks.push(lock),
            Err(SnapshotError::Busy { .. }) => return Ok(false),
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Whoever held the lock may have finished in the meantime.
    for (_, shelf) in snapshot.shelves() {
        if let Ok((Ok(manifest), _)) = shelf.read_manifest(snapshot.id())
            && manifest.state != super::manifest::State::Ready
        {
            delete::finish(snapshot)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Clears directories that have no name of their own.
fn clear(repository: &Repository, recovered: &mut Recovered) -> io::Result<()> {
    let shelf = Shelf::of(&repository.mount_point);
    for entry in shelf.entries()? {
        let Entry::Unfinished(id) = entry else {
            continue;
        };
        let directory = match open_directory(&shelf.unfinished(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let Some(_lock) = Flock::try_exclusive(directory)? else {
            continue;
        };
        let gone = match shelf.read_unfinished(id) {
            Ok(Ok(manifest)) => {
                delete::remove_copy(&shelf, &repository.id, &manifest).map_err(io::Error::other)?
            }
            // Of a newer release: only that one knows what is in it.
            Ok(Err(error)) => {
                tracing::warn!("{}: {error}", shelf.unfinished(id).display());
                continue;
            }
            // Not even a manifest yet: there is nothing else in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => shelf.remove_unfinished(id)?,
            Err(error) => return Err(error),
        };
        if gone {
            recovered.cleared.push(id);
        }
    }
    Ok(())
}
