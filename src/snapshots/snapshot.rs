//! A snapshot as this node sees it: its manifest, and whether it can be used now.

use std::path::PathBuf;

use uuid::Uuid;

use super::catalog::Copy;
use super::error::SnapshotError;
use super::manifest::{Disk, Manifest, State};
use super::seal;
use super::shelf::Shelf;
use crate::sys::uncached::UncachedFile;

/// A snapshot, put together from the copies of its manifest.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What one of the copies says; they agree in all but the state.
    pub manifest: Manifest,
    /// Whether it can be used now.
    pub standing: Standing,
    copies: Vec<Copy>,
}

/// Whether a snapshot can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every copy of the manifest says ready.
    Ready,
    /// Some copy says that it is being made.
    Creating,
    /// Some copy says that it is being removed.
    Deleting,
    /// A copy is not there: its repository is not mounted, or the copy was removed by hand.
    Waiting(String),
}

impl Snapshot {
    /// Puts copies of one manifest together. None without any.
    #[must_use]
    pub fn assemble(copies: Vec<Copy>) -> Option<Snapshot> {
        let manifest = copies.first()?.manifest.clone();
        let says = |state| copies.iter().any(|copy| copy.manifest.state == state);
        let missing = manifest.repositories.iter().find(|place| {
            !copies
                .iter()
                .any(|copy| copy.repository == place.repository)
        });
        let standing = if says(State::Deleting) {
            Standing::Deleting
        } else if says(State::Creating) {
            Standing::Creating
        } else if let Some(place) = missing {
            Standing::Waiting(format!(
                "repository {} ({}) holds a part of it and is not mounted here, or the part was removed by hand",
                place.repository,
                place.mount_point.display()
            ))
        } else {
            Standing::Ready
        };
        Some(Snapshot {
            manifest,
            standing,
            copies,
        })
    }

    /// The snapshot's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.manifest.id
    }

    /// The directories that hold it on this node, by repository id, in a fixed order.
    #[must_use]
    pub fn shelves(&self) -> Vec<(String, Shelf)> {
        let mut shelves: Vec<_> = self
            .copies
            .iter()
            .map(|copy| (copy.repository.clone(), Shelf::of(&copy.mount_point)))
            .collect();
        shelves.sort_by(|one, other| one.0.cmp(&other.0));
        shelves
    }

    /// Passes a snapshot on that can be read.
    ///
    /// # Errors
    /// [`SnapshotError::Unavailable`], with what it waits for.
    pub fn ready(self) -> Result<Snapshot, SnapshotError> {
        let reason = match &self.standing {
            Standing::Ready => return Ok(self),
            Standing::Creating => "it is being made".to_owned(),
            Standing::Deleting => "it is being deleted".to_owned(),
            Standing::Waiting(reason) => reason.clone(),
        };
        Err(SnapshotError::Unavailable {
            id: self.id(),
            reason,
        })
    }

    /// Where the mount point of the repository that holds a disk is on this node.
    #[must_use]
    pub fn mount_point(&self, disk: &Disk) -> Option<PathBuf> {
        self.copies
            .iter()
            .find(|copy| copy.repository == disk.repository)
            .map(|copy| copy.mount_point.clone())
    }

    /// Where a disk's file is on this node.
    #[must_use]
    pub fn path(&self, disk: &Disk) -> Option<PathBuf> {
        let mount_point = self.mount_point(disk)?;
        Some(
            Shelf::of(&mount_point)
                .directory(self.id())
                .join(&disk.name),
        )
    }

    /// The disk of that name.
    ///
    /// # Errors
    /// [`SnapshotError::UnknownDisk`].
    pub fn disk(&self, name: &str) -> Result<&Disk, SnapshotError> {
        self.manifest
            .disk(name)
            .ok_or_else(|| SnapshotError::UnknownDisk {
                id: self.id(),
                disk: name.to_owned(),
                known: self
                    .manifest
                    .disks
                    .iter()
                    .map(|disk| disk.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Opens a disk's file and checks that it is what was sealed.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`] where it is another file or was written to; the file system's.
    pub fn open(&self, disk: &Disk) -> Result<UncachedFile, SnapshotError> {
        let changed = |reason: String| SnapshotError::Changed {
            id: self.id(),
            disk: disk.name.clone(),
            reason,
        };
        let (Some(path), Some(sealed)) = (self.path(disk), &disk.identity) else {
            return Err(changed("it was never sealed".to_owned()));
        };
        let file = match UncachedFile::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(changed(format!("{} is gone", path.display())));
            }
            other => other.map_err(SnapshotError::io("cannot open", &path))?,
        };
        let found =
            seal::identify(file.file()).map_err(SnapshotError::io("cannot identify", &path))?;
        match seal::difference(sealed, &found) {
            None => Ok(file),
            Some(reason) => Err(changed(reason)),
        }
    }
}
