//! Finding snapshots: the catalog, held against what lies on the repositories.

use std::collections::HashMap;
use std::io;

use uuid::Uuid;

use super::Snapshots;
use super::catalog::Copy;
use super::error::SnapshotError;
use super::faults::Point;
use super::shelf::{Entry, Shelf, Stamp};
use super::snapshot::{Reach, Snapshot};
use crate::ovm::repository::Repository;

impl Snapshots {
    /// Brings the catalog up to date with every repository that is mounted. One that is not keeps
    /// its rows: its snapshots wait. Returns what could not be read, in words.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn refresh(&self, repositories: &[Repository]) -> Result<Vec<String>, SnapshotError> {
        let mut warnings = Vec::new();
        for repository in repositories {
            if repository.status().is_some() {
                self.refresh_one(repository, &mut warnings)?;
            }
        }
        warnings.extend(self.catalog.trouble());
        self.warning_log.tell(&warnings);
        Ok(warnings)
    }

    fn refresh_one(
        &self,
        repository: &Repository,
        warnings: &mut Vec<String>,
    ) -> Result<(), SnapshotError> {
        let shelf = Shelf::of(&repository.mount_point);
        // Known first, listed second: what is made in between is listed and not known, and so is
        // never taken for gone.
        let mut known: HashMap<Uuid, Copy> = self
            .catalog
            .in_repository(&repository.id)?
            .into_iter()
            .map(|copy| (copy.manifest.id, copy))
            .collect();
        let entries = match shelf.entries() {
            Ok(entries) if repository.is_still_mounted() => entries,
            Ok(_) => return Ok(()),
            Err(error) => {
                warnings.push(format!("{}: {error}", shelf.root().display()));
                return Ok(());
            }
        };
        for entry in entries {
            let warning = match entry {
                // With nothing but what is ours it is being made or removed.
                Entry::Unfinished(id) => {
                    let foreign = shelf.foreign_in_unfinished(id).unwrap_or_default();
                    warnings.extend(foreign.into_iter().map(|path| {
                        format!(
                            "{} is not this version's work, which leaves it alone: the snapshot \
                             that it belonged to is gone, remove it by hand",
                            path.display()
                        )
                    }));
                    None
                }
                Entry::Foreign(path) => Some(format!(
                    "{} was not made by this program, which leaves it alone",
                    path.display()
                )),
                Entry::Snapshot(id, stamp) => {
                    let row = known.remove(&id);
                    self.refresh_copy(repository, &shelf, id, &stamp, row.as_ref())?
                }
                Entry::Unreadable(id, error) => {
                    known.remove(&id);
                    Some(format!("{}: {error}", shelf.directory(id).display()))
                }
                // Said when adoption has looked at it, and could not take it.
                Entry::Unmatched(id) => {
                    let directory = shelf.directory(id);
                    self.adoption.reason(&directory).map(|reason| {
                        format!(
                            "{} has no manifest and is left alone: {reason}",
                            directory.display()
                        )
                    })
                }
            };
            warnings.extend(warning);
        }
        for id in known.into_keys() {
            self.catalog.forget(id, &repository.id)?;
            self.faults.pass(Point::CatalogForgotten);
        }
        Ok(())
    }

    /// Reads one copy again if it is not the known one. Returns what is wrong with it.
    fn refresh_copy(
        &self,
        repository: &Repository,
        shelf: &Shelf,
        id: Uuid,
        stamp: &Stamp,
        known: Option<&Copy>,
    ) -> Result<Option<String>, SnapshotError> {
        if known.is_some_and(|known| {
            known.stamp == *stamp && known.mount_point == repository.mount_point
        }) {
            return Ok(None);
        }
        let refused =
            |reason: String| Ok(Some(format!("{}: {reason}", shelf.directory(id).display())));
        match shelf.read_manifest(id) {
            Ok((Ok(manifest), stamp)) => {
                if !manifest
                    .repositories
                    .iter()
                    .any(|place| place.repository == repository.id)
                {
                    self.catalog.forget(id, &repository.id)?;
                    return refused(format!(
                        "its manifest does not name repository {}: it was copied here from elsewhere",
                        repository.id
                    ));
                }
                self.catalog.put(&Copy {
                    repository: repository.id.clone(),
                    mount_point: repository.mount_point.clone(),
                    stamp,
                    manifest,
                })?;
                self.faults.pass(Point::CatalogPut);
                Ok(None)
            }
            // What an older manifest said is not true any more.
            Ok((Err(error), _)) => {
                self.catalog.forget(id, &repository.id)?;
                refused(error.to_string())
            }
            // Deleted between the listing and now, or its repository was unmounted: then it waits.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if repository.is_still_mounted() {
                    self.catalog.forget(id, &repository.id)?;
                }
                Ok(None)
            }
            Err(error) => refused(error.to_string()),
        }
    }

    /// All snapshots, or one VM's, oldest first, whatever their standing.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn all(&self, vm_id: Option<&str>) -> Result<Vec<Snapshot>, SnapshotError> {
        self.all_in(&self.repositories.repositories(), vm_id)
    }

    /// The same, for a caller that has looked at the repositories already.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn all_in(
        &self,
        repositories: &[Repository],
        vm_id: Option<&str>,
    ) -> Result<Vec<Snapshot>, SnapshotError> {
        self.refresh(repositories)?;
        self.indexed(repositories, vm_id)
    }

    /// What the catalog knew when it was last brought up to date.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn indexed(
        &self,
        repositories: &[Repository],
        vm_id: Option<&str>,
    ) -> Result<Vec<Snapshot>, SnapshotError> {
        let reach = Reach::of(repositories);
        let mut snapshots = Vec::new();
        for id in self.catalog.snapshots(vm_id)? {
            snapshots.extend(Snapshot::assemble(&self.catalog.copies(id)?, &reach));
        }
        snapshots.sort_by_key(|snapshot| (snapshot.manifest.created_at, snapshot.id()));
        Ok(snapshots)
    }

    /// The snapshot `id` of a VM, whatever its standing. `id` is looked up, never made into a
    /// path.
    ///
    /// # Errors
    /// [`SnapshotError::Unknown`], [`SnapshotError::OtherVm`]; [`SnapshotError::Unreadable`] where
    /// its manifest is there and says nothing; [`SnapshotError::Unavailable`] for one
    /// that the first generation made, and that is not adopted yet, and where it may lie in a
    /// repository that does not answer.
    pub fn find(&self, vm_id: &str, id: &str) -> Result<Snapshot, SnapshotError> {
        let unknown = || SnapshotError::Unknown {
            vm_id: vm_id.to_owned(),
            id: id.to_owned(),
        };
        let id = Uuid::try_parse(id).map_err(|_| unknown())?;
        let snapshot = match self.find_known(id)? {
            Some(snapshot) => snapshot,
            None => {
                let repositories = self.repositories.repositories();
                self.refresh(&repositories)?;
                match Snapshot::assemble(&self.catalog.copies(id)?, &Reach::of(&repositories)) {
                    Some(snapshot) => snapshot,
                    None => {
                        return Err(match self.adoption.waits(id, &repositories) {
                            Some(reason) => SnapshotError::Unavailable { id, reason },
                            None => unreadable(id, &repositories)
                                .or_else(|| hidden(id, &repositories))
                                .unwrap_or_else(unknown),
                        });
                    }
                }
            }
        };
        if snapshot.manifest.vm_id != vm_id {
            return Err(SnapshotError::OtherVm {
                id,
                owner: snapshot.manifest.vm_id,
                vm_id: vm_id.to_owned(),
            });
        }
        Ok(snapshot)
    }

    /// Sees that nothing of an unknown snapshot lies in the repositories that are mounted: a delete
    /// must not say that it is gone where it only cannot be read.
    ///
    /// # Errors
    /// [`SnapshotError::Unreadable`]; [`SnapshotError::Unavailable`] where a repository does not
    /// answer.
    pub fn see_that_it_is_gone(&self, id: &str) -> Result<(), SnapshotError> {
        let Ok(id) = Uuid::try_parse(id) else {
            return Ok(());
        };
        let repositories = self.repositories.repositories();
        let left = repositories
            .iter()
            .filter(|repository| repository.status().is_some())
            .map(|repository| Shelf::of(&repository.mount_point).directory(id))
            .find(|directory| directory.is_dir());
        match left {
            None => hidden(id, &repositories).map_or(Ok(()), Err),
            Some(directory) => Err(SnapshotError::Unreadable { id, directory }),
        }
    }

    /// A snapshot straight from the catalog, if every copy is there and still the one that was
    /// read. Costs a `stat` a copy.
    fn find_known(&self, id: Uuid) -> Result<Option<Snapshot>, SnapshotError> {
        let copies = self.catalog.copies(id)?;
        let Some(first) = copies.first() else {
            return Ok(None);
        };
        let current = copies.len() == first.manifest.repositories.len()
            && copies.iter().all(|copy| {
                let shelf = Shelf::of(&copy.mount_point);
                shelf.stamp(id).is_ok_and(|stamp| stamp == copy.stamp)
            });
        Ok(if current {
            Snapshot::assemble(&copies, &Reach::of_copies(&copies))
        } else {
            None
        })
    }
}

/// A snapshot whose manifest is there, and was not understood: it is not gone.
fn unreadable(id: Uuid, repositories: &[Repository]) -> Option<SnapshotError> {
    repositories
        .iter()
        .filter(|repository| repository.status().is_some())
        .map(|repository| Shelf::of(&repository.mount_point))
        .find(|shelf| shelf.stamp(id).is_ok())
        .map(|shelf| SnapshotError::Unreadable {
            id,
            directory: shelf.directory(id),
        })
}

/// Nobody knows of a snapshot, and a repository does not answer: it may lie there.
fn hidden(id: Uuid, repositories: &[Repository]) -> Option<SnapshotError> {
    repositories.iter().find_map(|repository| {
        let reason = repository.silence()?;
        Some(SnapshotError::Unavailable {
            id,
            reason: format!(
                "it is in no repository that answers; it may be in {}, and {reason}",
                repository.id
            ),
        })
    })
}
