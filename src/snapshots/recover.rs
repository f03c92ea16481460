//! What a crash left is put right: at start, and again from time to time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use uuid::Uuid;

use super::error::SnapshotError;
use super::faults::{Faults, Point};
use super::locks::lock_directory;
use super::manifest::State;
use super::shelf::{Entry, Shelf, open_directory};
use super::snapshot::{Snapshot, Standing};
use super::turn::Turn;
use super::{Snapshots, delete};
use crate::ovm::repository::Repository;
use crate::sys::flock::Flock;

/// What [`Snapshots::tend`] has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Snapshots that were being made and are undone.
    pub undone: Vec<Uuid>,
    /// Snapshots that were being deleted and are gone.
    pub finished: Vec<Uuid>,
    /// Directories without a name of their own that are gone.
    pub cleared: Vec<Uuid>,
    /// Snapshots whose manifests were left in the middle of a change.
    pub mended: Vec<Uuid>,
}

impl Recovered {
    /// True where there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Recovered::default()
    }
}

/// What is recovered by itself: what lies on these repositories, and on all of them.
#[derive(Debug)]
pub struct Plot {
    /// Their ids.
    pub ids: Vec<String>,
    /// Where it is only one.
    repository: Option<Repository>,
    snapshots: Vec<Snapshot>,
}

impl Snapshots {
    /// Looks for all that there is to recover, in pieces that hang for themselves.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn plots(&self) -> Result<Vec<Plot>, SnapshotError> {
        let repositories = self.repositories.repositories();
        let found = self.all_in(&repositories, None)?;
        let mut plots: BTreeMap<Vec<String>, Plot> = BTreeMap::new();
        let plot = |ids: &Vec<String>, repository: Option<Repository>| Plot {
            ids: ids.clone(),
            repository,
            snapshots: Vec::new(),
        };
        for repository in repositories {
            if repository.status().is_some() {
                let ids = vec![repository.id.clone()];
                plots.insert(ids.clone(), plot(&ids, Some(repository)));
            }
        }
        for snapshot in found {
            let ids: Vec<String> = snapshot.shelves().into_iter().map(|(id, _)| id).collect();
            // Out of reach as a whole.
            if ids.is_empty() {
                continue;
            }
            let of_these = plots.entry(ids.clone());
            of_these
                .or_insert_with(|| plot(&ids, None))
                .snapshots
                .push(snapshot);
        }
        Ok(plots.into_values().collect())
    }

    /// Undoes half-made snapshots, finishes half-deleted ones, and mends what an interrupted change
    /// has left of manifests. One that has a part on a
    /// repository that is not mounted waits; what somebody is working on holds a lock and is left
    /// alone. What a file system refuses is logged and tried again next time.
    #[must_use]
    pub fn tend(&self, plot: &Plot) -> Recovered {
        let mut recovered = Recovered::default();
        for snapshot in &plot.snapshots {
            let (list, done) = match snapshot.standing {
                Standing::Creating => (&mut recovered.undone, self.finish_left(snapshot)),
                Standing::Deleting => (&mut recovered.finished, self.finish_left(snapshot)),
                Standing::Ready => (&mut recovered.mended, self.mend(snapshot)),
                Standing::Waiting(_) | Standing::Broken(_) => continue,
            };
            match done {
                Ok(true) => list.push(snapshot.id()),
                Ok(false) => {}
                Err(error) => tracing::warn!("recovery of snapshot {}: {error}", snapshot.id()),
            }
        }
        if let Some(repository) = &plot.repository {
            clear_all(repository, &mut recovered, &self.faults);
        }
        recovered
    }

    /// The same for all plots, one after the other.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn recover(&self) -> Result<Recovered, SnapshotError> {
        let mut recovered = Recovered::default();
        for plot in self.plots()? {
            let more = self.tend(&plot);
            recovered.undone.extend(more.undone);
            recovered.finished.extend(more.finished);
            recovered.cleared.extend(more.cleared);
            recovered.mended.extend(more.mended);
        }
        Ok(recovered)
    }

    /// Deletes those snapshots of a plot whose term is over, and gives their ids.
    #[must_use]
    pub fn expire_in(&self, plot: &Plot) -> Vec<Uuid> {
        self.expire_those(&plot.snapshots)
    }

    /// Removes scratch files that trial clones of an earlier run have left on a plot. Only at start: a
    /// trial on another node may be under way later.
    pub fn remove_scratch_of(&self, plot: &Plot) {
        if let Some(repository) = &plot.repository {
            remove_scratch_in(repository);
        }
    }

    /// True when it is gone, false when somebody is at work on it, or a part of it is out of reach.
    fn finish_left(&self, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        if snapshot.within_reach().is_err() {
            return Ok(false);
        }
        let Some(_locks) = try_locks(snapshot)? else {
            return Ok(false);
        };
        self.faults.pass(Point::RecoverLocked);
        // Whoever held the lock may have finished in the meantime.
        for (_, shelf) in snapshot.shelves() {
            if let Ok((Ok(manifest), _)) = shelf.read_manifest(snapshot.id())
                && manifest.state != State::Ready
            {
                delete::finish(snapshot, &self.faults)?;
                self.faults.pass(Point::RecoverRemoved);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts manifests right that a crash has left in the middle of a change: half written, not
    /// sealed again, or changed in some repositories only. False where there was nothing to do, and
    /// when somebody is at work on it.
    fn mend(&self, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        let sealed =
            self.settings.get().immutable && snapshot.manifest.disks.iter().all(|disk| disk.sealed);
        let id = snapshot.id();
        let is_tidy = |snapshot: &Snapshot| -> Result<bool, SnapshotError> {
            for (_, shelf) in snapshot.shelves() {
                if !shelf
                    .is_tidy(id, sealed)
                    .map_err(SnapshotError::io("cannot look at", &shelf.directory(id)))?
                {
                    return Ok(false);
                }
            }
            Ok(!snapshot.is_divided())
        };
        if is_tidy(snapshot)? {
            return Ok(false);
        }
        let Some(_locks) = try_locks(snapshot)? else {
            return Ok(false);
        };
        self.faults.pass(Point::RecoverMending);
        // Whoever held the locks may have finished, or deleted it, in the meantime.
        let found = match self.find(&snapshot.manifest.vm_id, &id.to_string()) {
            Err(SnapshotError::Unknown { .. }) => return Ok(false),
            other => other?,
        };
        if found.standing != Standing::Ready || is_tidy(&found)? {
            return Ok(false);
        }
        for (_, shelf) in found.shelves() {
            let directory = shelf.directory(id);
            let cannot = SnapshotError::io("cannot mend the manifest in", &directory);
            if found.is_divided() {
                shelf.write_manifest(&found.manifest, &self.faults)
            } else {
                shelf.remove_half_written(&directory)
            }
            .map_err(cannot)?;
            self.protect_copy(&shelf, &found.manifest);
        }
        is_tidy(&self.find(&snapshot.manifest.vm_id, &id.to_string())?)
    }

    /// The same on all repositories.
    pub fn remove_scratch(&self) {
        for repository in self.repositories.repositories() {
            if repository.status().is_some() {
                remove_scratch_in(&repository);
            }
        }
    }
}

fn remove_scratch_in(repository: &Repository) {
    if let Err(error) = Shelf::of(&repository.mount_point).remove_scratch() {
        tracing::warn!("{}: {error}", repository.mount_point.display());
    }
}

/// The locks of every copy that is there; None when somebody is at work on one.
fn try_locks(snapshot: &Snapshot) -> Result<Option<Vec<Flock>>, SnapshotError> {
    let mut locks = Vec::new();
    let at_once = Turn::within(Duration::ZERO);
    for (_, shelf) in snapshot.shelves() {
        match lock_directory(&shelf.directory(snapshot.id()), &at_once) {
            Ok(lock) => locks.push(lock),
            Err(SnapshotError::Busy { .. }) => return Ok(None),
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(locks))
}

/// Clears every directory without a name of its own; one that cannot be cleared does not keep the
/// others.
fn clear_all(repository: &Repository, recovered: &mut Recovered, faults: &Faults) {
    let shelf = Shelf::of(&repository.mount_point);
    let entries = shelf.entries().unwrap_or_else(|error| {
        tracing::warn!("recovery in {}: {error}", shelf.root().display());
        Vec::new()
    });
    for entry in entries {
        let Entry::Unfinished(id) = entry else {
            continue;
        };
        match clear(&repository.id, &shelf, id, faults) {
            Ok(true) => recovered.cleared.push(id),
            Ok(false) => {}
            Err(error) => tracing::warn!("recovery: {error}"),
        }
    }
}

/// Clears a directory that has no name of its own. False when somebody is at work on it, and when
/// it is not for us to clear or not all of it.
fn clear(
    repository: &str,
    shelf: &Shelf,
    id: Uuid,
    faults: &Faults,
) -> Result<bool, SnapshotError> {
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
        Ok(Ok(manifest)) => delete::remove_disks(&hidden, repository, &manifest, faults)?,
        // Of a newer release: only that one knows what is in it, and needs this to know it.
        Ok(Err(_)) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SnapshotError::io("cannot read", &hidden)(error)),
    }
    let gone = shelf
        .remove_emptied(&hidden, faults)
        .map_err(SnapshotError::io("cannot remove", &hidden))?;
    faults.pass(Point::RecoverCleared);
    Ok(gone)
}
