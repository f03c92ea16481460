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
    /// The repositories of it that are mounted now, with their mount points, ordered by id.
    places: Vec<(String, PathBuf)>,
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
    /// A repository that holds a part of it is not mounted here.
    Waiting(String),
    /// All its repositories are mounted, and one of them has no part of it: removed by hand. It
    /// can only be deleted.
    Incomplete(String),
}

impl Snapshot {
    /// Puts copies of one manifest together, as they stand with `mounted`, the repositories that
    /// are mounted now, and their mount points. None without any copy.
    #[must_use]
    pub fn assemble(copies: &[Copy], mounted: &[(String, PathBuf)]) -> Option<Snapshot> {
        let manifest = copies.first()?.manifest.clone();
        let says = |state| copies.iter().any(|copy| copy.manifest.state == state);
        let mut places: Vec<_> = mounted
            .iter()
            .filter(|(id, _)| manifest.repositories.iter().any(|p| p.repository == *id))
            .cloned()
            .collect();
        places.sort();
        let absent = manifest
            .repositories
            .iter()
            .find(|place| !places.iter().any(|(id, _)| *id == place.repository));
        let without = places
            .iter()
            .find(|(id, _)| !copies.iter().any(|copy| copy.repository == *id));
        // What a repository that is not mounted says may be long out of date, so nothing is
        // concluded before it is back: not even what a crash has left is cleared.
        let standing = if let Some(place) = absent {
            Standing::Waiting(format!(
                "repository {} ({}) holds a part of it and is not mounted here",
                place.repository,
                place.mount_point.display()
            ))
        } else if says(State::Deleting) {
            Standing::Deleting
        } else if says(State::Creating) {
            Standing::Creating
        } else if let Some((id, mount_point)) = without {
            Standing::Incomplete(format!(
                "repository {id} ({}) is mounted and does not hold its part of it, which was \
                 removed by hand; all there is to do is to delete the snapshot",
                mount_point.display()
            ))
        } else {
            Standing::Ready
        };
        Some(Snapshot {
            manifest,
            standing,
            places,
        })
    }

    /// The snapshot's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.manifest.id
    }

    /// The shelves that hold it on this node, or should, by repository id, in a fixed order.
    #[must_use]
    pub fn shelves(&self) -> Vec<(String, Shelf)> {
        self.places
            .iter()
            .map(|(id, mount_point)| (id.clone(), Shelf::of(mount_point)))
            .collect()
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
            Standing::Waiting(reason) | Standing::Incomplete(reason) => reason.clone(),
        };
        Err(SnapshotError::Unavailable {
            id: self.id(),
            reason,
        })
    }

    /// Where the mount point of the repository that holds a disk is on this node.
    #[must_use]
    pub fn mount_point(&self, disk: &Disk) -> Option<PathBuf> {
        self.places
            .iter()
            .find(|(id, _)| *id == disk.repository)
            .map(|(_, mount_point)| mount_point.clone())
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

    /// What a file that is gone means, where the whole snapshot is going or gone: somebody deleted
    /// it since its manifest was read.
    fn deleted_meanwhile(&self) -> Option<SnapshotError> {
        self.shelves()
            .iter()
            .find_map(|(_, shelf)| match shelf.read_manifest(self.id()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Some(SnapshotError::Unknown {
                        vm_id: self.manifest.vm_id.clone(),
                        id: self.id().to_string(),
                    })
                }
                Ok((Ok(manifest), _)) if manifest.state == State::Deleting => {
                    Some(SnapshotError::Unavailable {
                        id: self.id(),
                        reason: "it is being deleted".to_owned(),
                    })
                }
                _ => None,
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
                return Err(self
                    .deleted_meanwhile()
                    .unwrap_or_else(|| changed(format!("{} is gone", path.display()))));
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
