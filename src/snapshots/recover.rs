//! What a crash left is put right: at start, and again from time to time.

use std::io;
use std::time::Duration;

use uuid::Uuid;

use super::error::SnapshotError;
use super::locks::lock_directory;
use super::manifest::State;
use super::shelf::{Entry, Shelf, open_directory};
use super::snapshot::{Snapshot, Standing};
use super::turn::Turn;
use super::{Snapshots, delete};
use crate::ovm::repository::Repository;
use crate::sys::flock::Flock;

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
    /// Undoes half-made snapshots and finishes half-deleted ones. One that has a part on a
    /// repository that is not mounted waits; what somebody is working on holds a lock and is left
    /// alone.
    ///
    /// # Errors
    /// The catalog's own. What a file system refuses is logged and tried again next time.
    pub fn recover(&self) -> Result<Recovered, SnapshotError> {
        let mut recovered = Recovered::default();
        let repositories = self.repositories.repositories();
        for snapshot in self.all_in(&repositories, None)? {
            let list = match snapshot.standing {
                Standing::Creating => &mut recovered.undone,
                Standing::Deleting => &mut recovered.finished,
                Standing::Ready | Standing::Waiting(_) | Standing::Broken(_) => continue,
            };
            match finish_snapshot(&snapshot) {
                Ok(true) => list.push(snapshot.id()),
                Ok(false) => {}
                Err(error) => tracing::warn!("recovery of snapshot {}: {error}", snapshot.id()),
            }
        }
        for repository in &repositories {
            if repository.status().is_some() {
                clear_all(repository, &mut recovered);
            }
        }
        Ok(recovered)
    }

    /// Removes scratch files that trial clones of an earlier run have left. Only at start: a
    /// trial on another node may be under way later.
    pub fn remove_scratch(&self) {
        for repository in self.repositories.repositories() {
            if repository.status().is_some()
                && let Err(error) = Shelf::of(&repository.mount_point).remove_scratch()
            {
                tracing::warn!("{}: {error}", repository.mount_point.display());
            }
        }
    }
}

/// True when it is gone, false when somebody is at work on it, or a part of it is out of reach.
fn finish_snapshot(snapshot: &Snapshot) -> Result<bool, SnapshotError> {
    if snapshot.within_reach().is_err() {
        return Ok(false);
    }
    let mut locks = Vec::new();
    let at_once = Turn::within(Duration::ZERO);
    for (_, shelf) in snapshot.shelves() {
        match lock_directory(&shelf.directory(snapshot.id()), &at_once) {
            Ok(lock) => locks.push(lock),
            Err(SnapshotError::Busy { .. }) => return Ok(false),
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Whoever held the lock may have finished in the meantime.
    for (_, shelf) in snapshot.shelves() {
        if let Ok((Ok(manifest), _)) = shelf.read_manifest(snapshot.id())
            && manifest.state != State::Ready
        {
            delete::finish(snapshot)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Clears every directory without a name of its own; one that cannot be cleared does not keep the
/// others.
fn clear_all(repository: &Repository, recovered: &mut Recovered) {
    let shelf = Shelf::of(&repository.mount_point);
    let entries = shelf.entries().unwrap_or_else(|error| {
        tracing::warn!("recovery in {}: {error}", shelf.root().display());
        Vec::new()
    });
    for entry in entries {
        let Entry::Unfinished(id) = entry else {
            continue;
        };
        match clear(&repository.id, &shelf, id) {
            Ok(true) => recovered.cleared.push(id),
            Ok(false) => {}
            Err(error) => tracing::warn!("recovery: {error}"),
        }
    }
}

/// Clears a directory that has no name of its own. False when somebody is at work on it, and when
/// it is not for us to clear or not all of it.
fn clear(repository: &str, shelf: &Shelf, id: Uuid) -> Result<bool, SnapshotError> {
    let hidden = shelf.unfinished(id);
    let directory = match open_directory(&hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(SnapshotError::io("cannot open", &hidden))?,
    };
    let lock =
        Flock::try_exclusive(directory).map_err(SnapshotError::io("cannot lock", &hidden))?;
    let Some(_lock) = lock else {
        return Ok(false);
    };
    // Whatever disks it has are in it and nowhere else. Without a manifest there are none.
    match shelf.read_unfinished(id) {
        Ok(Ok(manifest)) => delete::remove_disks(&hidden, repository, &manifest)?,
        // Of a newer release: only that one knows what is in it, and needs this to know it.
        Ok(Err(_)) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SnapshotError::io("cannot read", &hidden)(error)),
    }
    shelf
        .remove_emptied(&hidden)
        .map_err(SnapshotError::io("cannot remove", &hidden))
}
