//! Removing a snapshot: said first, then done, so that a crash in the middle is finished later.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Snapshots;
use super::error::SnapshotError;
use super::locks::lock_directory;
use super::manifest::{Manifest, State};
use super::seal;
use super::shelf::{self, Shelf};
use super::snapshot::{Snapshot, Standing};
use crate::sys::flock::Flock;

impl Snapshots {
    /// Deletes a snapshot. One that is gone already is no error. Downloads that have begun keep
    /// their open files and finish.
    ///
    /// # Errors
    /// [`SnapshotError::OtherVm`], [`SnapshotError::Unavailable`] while a part of it lies on a
    /// repository that is not mounted, [`SnapshotError::Busy`], the file system's.
    pub fn delete(&self, vm_id: &str, id: &str) -> Result<(), SnapshotError> {
        let _vm = self.locks.lock(vm_id, self.settings.lock_timeout)?;
        match self.find(vm_id, id) {
            Err(SnapshotError::Unknown { .. }) => Ok(()),
            Ok(snapshot) => self.remove(&snapshot),
            Err(error) => Err(error),
        }
    }

    /// Deletes every snapshot of a VM. The first that cannot be deleted ends it; the rest stay.
    ///
    /// # Errors
    /// As [`Snapshots::delete`].
    pub fn delete_all(&self, vm_id: &str) -> Result<(), SnapshotError> {
        let _vm = self.locks.lock(vm_id, self.settings.lock_timeout)?;
        for snapshot in self.all(Some(vm_id))? {
            self.remove(&snapshot)?;
        }
        Ok(())
    }

    fn remove(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        if let Standing::Waiting(reason) = &snapshot.standing {
            return Err(SnapshotError::Unavailable {
                id: snapshot.id(),
                reason: reason.clone(),
            });
        }
        let _locks = self.lock_copies(snapshot)?;
        finish(snapshot)
    }

    /// Locks every directory of it that is there: another node may have been faster.
    fn lock_copies(&self, snapshot: &Snapshot) -> Result<Vec<Flock>, SnapshotError> {
        let mut locks = Vec::new();
        for (_, shelf) in snapshot.shelves() {
            let directory = shelf.directory(snapshot.id());
            match lock_directory(&directory, self.settings.lock_timeout) {
                Ok(lock) => locks.push(lock),
                Err(SnapshotError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(locks)
    }
}

/// Says `deleting` in every repository, then removes every copy. The locks are held.
///
/// # Errors
/// The file system's; recovery finishes what is left.
pub(super) fn finish(snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let deleting = Manifest {
        state: State::Deleting,
        ..snapshot.manifest.clone()
    };
    for (_, shelf) in snapshot.shelves() {
        match shelf.write_manifest(&deleting) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let directory = shelf.directory(deleting.id);
                return Err(SnapshotError::io("cannot mark for deletion", &directory)(
                    error,
                ));
            }
            _ => {}
        }
    }
    for (repository, shelf) in snapshot.shelves() {
        remove_copy(&shelf, &repository, &deleting)?;
    }
    Ok(())
}

/// Removes what a snapshot has in one repository: its disks' files, then its directory. What
/// others have put there stays, and the directory under its hidden name then; returns whether it
/// is gone.
///
/// # Errors
/// The file system's.
pub(super) fn remove_copy(
    shelf: &Shelf,
    repository: &str,
    manifest: &Manifest,
) -> Result<bool, SnapshotError> {
    for directory in [shelf.directory(manifest.id), shelf.unfinished(manifest.id)] {
        for disk in &manifest.disks {
            if disk.repository == repository {
                let path = directory.join(&disk.name);
                remove_disk(&path).map_err(SnapshotError::io("cannot remove", &path))?;
            }
        }
    }
    let directory = shelf.unfinished(manifest.id);
    shelf
        .hide(manifest.id)
        .and_then(|()| shelf.remove_unfinished(manifest.id))
        .map_err(SnapshotError::io("cannot remove", &directory))
}

fn remove_disk(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => seal::unseal(&file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A symbolic link: not ours, and removing the name is all there is to do.
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {}
        Err(error) => return Err(error),
    }
    shelf::remove_if_there(path)
}
