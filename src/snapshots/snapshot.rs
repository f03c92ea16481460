//! A snapshot as this node sees it: its manifest, and whether it can be used now.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use super::catalog::Copy;
use super::error::SnapshotError;
use super::manifest::{Disk, Manifest, Place, State};
use super::seal;
use super::shelf::Shelf;
use crate::ovm::repository::Repository;
use crate::sys::uncached::UncachedFile;

/// The repositories that are mounted here, by id, with their mount points.
#[derive(Debug, Default)]
pub(super) struct Reach(HashMap<String, PathBuf>);

impl Reach {
    /// What of `repositories` is mounted.
    pub(super) fn of(repositories: &[Repository]) -> Reach {
        Reach(
            repositories
                .iter()
                .filter(|repository| repository.status().is_some())
                .map(|repository| (repository.id.clone(), repository.mount_point.clone()))
                .collect(),
        )
    }

    /// Where copies have just been seen, their repositories are mounted.
    pub(super) fn of_copies(copies: &[Copy]) -> Reach {
        Reach(
            copies
                .iter()
                .map(|copy| (copy.repository.clone(), copy.mount_point.clone()))
                .collect(),
        )
    }

    fn has(&self, repository: &str) -> bool {
        self.0.contains_key(repository)
    }

    fn holds(&self, copy: &Copy) -> bool {
        self.0.get(&copy.repository) == Some(&copy.mount_point)
    }
}

/// A snapshot, put together from the copies of its manifest.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What one of the copies says; they agree in all but the state.
    pub manifest: Manifest,
    /// Whether it can be used now.
    pub standing: Standing,
    /// Repository id and mount point of each place of it that is mounted here, by id; whether or
    /// not its copy is there.
    here: Vec<(String, PathBuf)>,
    /// Repositories that are not mounted here.
    out_of_reach: Vec<Place>,
    /// Whether the copies that are here say different things.
    divided: bool,
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
    /// A repository that holds a part of it is not mounted.
    Waiting(String),
    /// A part of it is gone from a repository that is mounted.
    Broken(String),
}

impl Snapshot {
    /// Puts copies of one manifest together. None without any.
    pub(super) fn assemble(copies: &[Copy], reach: &Reach) -> Option<Snapshot> {
        let mut here: Vec<&Copy> = copies.iter().filter(|copy| reach.holds(copy)).collect();
        here.sort_by(|one, other| one.repository.cmp(&other.repository));
        let manifest = here.first().copied().or(copies.first())?.manifest.clone();
        let out_of_reach: Vec<Place> = manifest
            .repositories
            .iter()
            .filter(|place| !reach.has(&place.repository))
            .cloned()
            .collect();
        let standing = standing(&manifest, &here, &out_of_reach);
        let divided = here.iter().any(|copy| copy.manifest != manifest);
        let mut here: Vec<(String, PathBuf)> = manifest
            .repositories
            .iter()
            .filter_map(|place| {
                let mount_point = reach.0.get(&place.repository)?;
                Some((place.repository.clone(), mount_point.clone()))
            })
            .collect();
        // One order everywhere: that of the locks.
        here.sort();
        Some(Snapshot {
            here,
            manifest,
            standing,
            out_of_reach,
            divided,
        })
    }

    /// A snapshot that has just been made ready in every place that its manifest names.
    pub(super) fn made(manifest: Manifest) -> Snapshot {
        Snapshot {
            here: manifest
                .repositories
                .iter()
                .map(|place| (place.repository.clone(), place.mount_point.clone()))
                .collect(),
            standing: Standing::Ready,
            out_of_reach: Vec::new(),
            divided: false,
            manifest,
        }
    }

    /// The same once every copy says this.
    pub(super) fn saying(self, manifest: Manifest) -> Snapshot {
        Snapshot {
            manifest,
            divided: false,
            ..self
        }
    }

    /// The snapshot's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.manifest.id
    }

    /// The directories that hold it on this node, by repository id: the order of their locks.
    pub(super) fn shelves(&self) -> Vec<(String, Shelf)> {
        self.here
            .iter()
            .map(|(repository, mount_point)| (repository.clone(), Shelf::of(mount_point)))
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
            Standing::Waiting(reason) => reason.clone(),
            Standing::Broken(reason) => {
                return Err(SnapshotError::Broken {
                    id: self.id(),
                    reason: reason.clone(),
                });
            }
        };
        Err(SnapshotError::Unavailable {
            id: self.id(),
            reason,
        })
    }

    /// Whether a change has reached some of its copies only.
    pub(super) fn is_divided(&self) -> bool {
        self.divided
    }

    /// Sees that every repository that may hold a part of it is mounted here: only then can it be
    /// removed whole.
    ///
    /// # Errors
    /// [`SnapshotError::Unavailable`], naming one that is not.
    pub(super) fn within_reach(&self) -> Result<(), SnapshotError> {
        match self.out_of_reach.first() {
            None => Ok(()),
            Some(place) => Err(SnapshotError::Unavailable {
                id: self.id(),
                reason: not_mounted(place),
            }),
        }
    }

    /// Where the mount point of the repository that holds a disk is on this node.
    #[must_use]
    pub fn mount_point(&self, disk: &Disk) -> Option<PathBuf> {
        self.here
            .iter()
            .find(|(repository, _)| *repository == disk.repository)
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

    /// Opens a disk's file and checks that it is what was sealed.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`] where it is another file or was written to,
    /// [`SnapshotError::Unknown`] where the whole snapshot has been deleted meanwhile,
    /// [`SnapshotError::Unavailable`] where its repository was unmounted; the file system's.
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if !self.is_mounted(disk) {
                    SnapshotError::Unavailable {
                        id: self.id(),
                        reason: format!(
                            "{} is gone with its repository, which was unmounted meanwhile",
                            path.display()
                        ),
                    }
                } else if self.is_going(disk) {
                    SnapshotError::Unknown {
                        vm_id: self.manifest.vm_id.clone(),
                        id: self.id().to_string(),
                    }
                } else {
                    changed(format!("{} is gone", path.display()))
                });
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

    /// Whether the repository that holds a disk is mounted now.
    fn is_mounted(&self, disk: &Disk) -> bool {
        let mount_point = self.mount_point(disk);
        mount_point.is_some_and(|mount_point| Shelf::of(&mount_point).is_in_reach())
    }

    /// Whether the copy that holds a disk is being deleted, or is.
    fn is_going(&self, disk: &Disk) -> bool {
        let Some(mount_point) = self.mount_point(disk) else {
            return false;
        };
        match Shelf::of(&mount_point).read_manifest(self.id()) {
            Ok((Ok(manifest), _)) => manifest.state != State::Ready,
            Ok((Err(_), _)) => false,
            Err(error) => error.kind() == io::ErrorKind::NotFound && mount_point.is_dir(),
        }
    }
}

fn standing(manifest: &Manifest, here: &[&Copy], out_of_reach: &[Place]) -> Standing {
    let says = |state| here.iter().any(|copy| copy.manifest.state == state);
    let missing = manifest
        .repositories
        .iter()
        .find(|place| !here.iter().any(|copy| copy.repository == place.repository));
    if says(State::Deleting) {
        Standing::Deleting
    } else if says(State::Creating) {
        Standing::Creating
    } else if let Some(place) = out_of_reach.first() {
        Standing::Waiting(not_mounted(place))
    } else if let Some(place) = missing {
        Standing::Broken(format!(
            "the part of it in repository {} ({}) was removed by hand",
            place.repository,
            place.mount_point.display()
        ))
    } else {
        Standing::Ready
    }
}

fn not_mounted(place: &Place) -> String {
    format!(
        "repository {} ({}) holds a part of it and is not mounted here",
        place.repository,
        place.mount_point.display()
    )
}
