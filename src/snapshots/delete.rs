//! Removing a snapshot: said first, then done, so that a crash in the middle is finished later.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use super::Snapshots;
use super::clusters;
use super::error::SnapshotError;
use super::faults::{Faults, Point};
use super::locks::lock_directory;
use super::manifest::Manifest;
use super::seal;
use super::shelf::{self, Shelf};
use super::snapshot::{Snapshot, Standing};
use super::turn::Turn;
use crate::sys::flock::Flock;

impl Snapshots {
    /// Deletes a snapshot. One that is gone already is no error. Downloads that have begun keep
    /// their open files and finish.
    ///
    /// # Errors
    /// [`SnapshotError::OtherVm`], [`SnapshotError::Unreadable`], [`SnapshotError::Unavailable`]
    /// while a part of it lies on a repository that is not mounted, [`SnapshotError::Unremovable`],
    /// [`SnapshotError::Busy`], [`SnapshotError::GivenUp`], the file system's.
    pub fn delete(&self, vm_id: &str, id: &str, turn: &Turn) -> Result<(), SnapshotError> {
        let _vm = self.locks.lock(vm_id, turn)?;
        match self.find(vm_id, id) {
            Err(SnapshotError::Unknown { .. }) => self.see_that_it_is_gone(id),
            Ok(snapshot) => {
                let _locks = lock_copies(&snapshot, turn)?;
                turn.take()?;
                remove(&snapshot, &self.faults)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes every snapshot of a VM. One that cannot be deleted does not keep the others.
    ///
    /// # Errors
    /// As [`Snapshots::delete`]: the first, after all were tried.
    pub fn delete_all(&self, vm_id: &str, turn: &Turn) -> Result<(), SnapshotError> {
        let _vm = self.locks.lock(vm_id, turn)?;
        let mut first = Ok(());
        let mut locked = Vec::new();
        for snapshot in self.all(Some(vm_id))? {
            match lock_copies(&snapshot, turn) {
                Ok(locks) => locked.push((snapshot, locks)),
                Err(error) => first = first.and(Err(error)),
            }
        }
        turn.take()?;
        for (snapshot, _locks) in locked {
            first = first.and(remove(&snapshot, &self.faults));
            self.faults.pass(Point::PurgedOne);
        }
        first
    }
}

/// Removes a snapshot that somebody wants to be rid of: the request that this runs in says who.
fn remove(snapshot: &Snapshot, faults: &Faults) -> Result<(), SnapshotError> {
    finish(snapshot, faults)?;
    let vm = &snapshot.manifest.vm_id;
    tracing::info!(snapshot = %snapshot.id(), vm, "snapshot deleted");
    Ok(())
}

/// Takes the lock of every copy of a snapshot.
pub(super) fn lock_copies(snapshot: &Snapshot, turn: &Turn) -> Result<Vec<Flock>, SnapshotError> {
    snapshot.within_reach()?;
    let mut locks = Vec::new();
    for (_, shelf) in snapshot.shelves() {
        match lock_directory(&shelf.directory(snapshot.id()), turn) {
            Ok(lock) => locks.push(lock),
            // Another node was faster, with this copy at least.
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(locks)
}

/// Says `deleting` in every repository, then removes every copy. The locks are held.
///
/// # Errors
/// [`SnapshotError::Unremovable`], and then nothing has changed if it was ready; the file system's;
/// recovery finishes what is left.
pub(super) fn finish(snapshot: &Snapshot, faults: &Faults) -> Result<(), SnapshotError> {
    let manifest = &snapshot.manifest;
    if snapshot.standing == Standing::Ready {
        see_that_it_can_go(snapshot)?;
    }
    for (repository, shelf) in snapshot.shelves() {
        match shelf.mark_deleting(manifest, faults) {
            Ok(()) => {}
            // Gone already, unless it is the whole repository that is gone: a copy there still
            // says ready, and would be left alone with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && shelf.is_in_reach() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SnapshotError::Unavailable {
                    id: manifest.id,
                    reason: format!(
                        "repository {repository} with {} was unmounted meanwhile",
                        shelf.root().display()
                    ),
                });
            }
            Err(error) => {
                let directory = shelf.directory(manifest.id);
                return Err(SnapshotError::io("cannot mark for deletion", &directory)(
                    error,
                ));
            }
        }
    }
    for (repository, shelf) in snapshot.shelves() {
        remove_copy(&shelf, &repository, manifest, faults)?;
    }
    Ok(())
}

/// Whether every disk's file can be removed without harm: whole it is of more use than in part.
fn see_that_it_can_go(snapshot: &Snapshot) -> Result<(), SnapshotError> {
    for (repository, shelf) in snapshot.shelves() {
        let directory = shelf.directory(snapshot.id());
        for disk in &snapshot.manifest.disks {
            if disk.repository == repository {
                let path = directory.join(&disk.name);
                match open_disk(&path) {
                    Ok(Some(file)) => see_that_a_file_can_go(snapshot.id(), &path, &file)?,
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(SnapshotError::io("cannot look at", &path)(error)),
                }
            }
        }
    }
    Ok(())
}

fn see_that_a_file_can_go(id: Uuid, path: &Path, file: &File) -> Result<(), SnapshotError> {
    match clusters::miscount(file).map_err(SnapshotError::io("cannot look at", path))? {
        None => Ok(()),
        Some(miscount) => Err(SnapshotError::Unremovable {
            id,
            path: path.to_owned(),
            reason: format!("{miscount}. {}", clusters::CURE),
        }),
    }
}

/// Removes what a snapshot has in one repository: its disks' files, then its directory. What
/// others have put there stays.
///
/// # Errors
/// The file system's.
pub(super) fn remove_copy(
    shelf: &Shelf,
    repository: &str,
    manifest: &Manifest,
    faults: &Faults,
) -> Result<(), SnapshotError> {
    let directory = shelf.directory(manifest.id);
    remove_disks(&directory, repository, manifest, faults)?;
    let gone = shelf
        .remove_directory(manifest.id, faults)
        .map_err(SnapshotError::io("cannot remove", &directory))?;
    if !gone {
        tracing::warn!(
            "{} holds files that are not ours and stays; remove it by hand",
            shelf.unfinished(manifest.id).display()
        );
    }
    Ok(())
}

/// Removes the disks' files that a snapshot has in a directory. One that cannot be removed does not
/// keep the others.
///
/// # Errors
/// [`SnapshotError::Unremovable`], the file system's: the first, after all were tried.
pub(super) fn remove_disks(
    directory: &Path,
    repository: &str,
    manifest: &Manifest,
    faults: &Faults,
) -> Result<(), SnapshotError> {
    let mut first = Ok(());
    for disk in &manifest.disks {
        if disk.repository == repository {
            let path = directory.join(&disk.name);
            first = first.and(remove_disk(manifest.id, &path, faults));
        }
    }
    first
}

fn remove_disk(id: Uuid, path: &Path, faults: &Faults) -> Result<(), SnapshotError> {
    let failed = || SnapshotError::io("cannot remove", path);
    match open_disk(path) {
        Ok(Some(file)) => {
            see_that_a_file_can_go(id, path, &file)?;
            seal::unseal(&file).map_err(failed())?;
        }
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed()(error)),
    }
    faults.pass(Point::DeleteDiskUnsealed);
    shelf::remove_if_there(path).map_err(failed())?;
    faults.pass(Point::DeleteDiskGone);
    Ok(())
}

/// None for a symbolic link: that is not ours, and removing the name is all there is to do.
fn open_disk(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use uuid::Uuid;

    use super::super::manifest::State;
    use super::*;

    #[test]
    fn no_copy_goes_while_another_one_is_out_of_reach() {
        let (here, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mark = |folder: &Path| fs::write(folder.join(".ovsrepo"), "").unwrap();
        let place = |id: &str, folder: &Path| json!({ "repository": id, "mount_point": folder });
        let manifest: Manifest = serde_json::from_value(json!({
            "version": 1,
            "id": Uuid::new_v4(),
            "vm_id": "vm",
            "created_at": "2026-01-01T00:00:00Z",
            "state": "ready",
            "node": "node",
            "repositories": [place("a", here.path()), place("b", away.path())],
            "disks": [],
        }))
        .unwrap();
        let faults = Faults::default();
        mark(here.path());
        let shelf = Shelf::of(here.path());
        fs::create_dir_all(shelf.directory(manifest.id)).unwrap();
        shelf.write_manifest(&manifest, &faults).unwrap();

        // Found while both were mounted; now one is not.
        let snapshot = Snapshot::made(manifest.clone());
        let error = finish(&snapshot, &faults).unwrap_err();
        assert!(
            matches!(error, SnapshotError::Unavailable { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("unmounted"), "{error}");
        let (left, _) = shelf.read_manifest(manifest.id).unwrap();
        assert_eq!(left.unwrap().state, State::Deleting);

        mark(away.path());
        fs::create_dir(Shelf::of(away.path()).root()).unwrap();
        finish(&snapshot, &faults).unwrap();
        assert!(!shelf.directory(manifest.id).exists());
    }
}
