//! Finding snapshots: the catalog, held against what lies on the repositories.

use std::path::PathBuf;

use uuid::Uuid;

use super::Snapshots;
use super::catalog::Copy;
use super::error::SnapshotError;
use super::shelf::{Entry, Shelf, Stamp};
use super::snapshot::{Snapshot, Standing};
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
            if repository.status().is_none() {
                continue;
            }
            let shelf = Shelf::of(&repository.mount_point);
            // Asked before the directory is listed: what is made and put into the catalog while
            // this listing is read is not in it, and not gone either.
            let known = self.catalog.in_repository(&repository.id)?;
            match shelf.entries() {
                Ok(entries) => {
                    self.refresh_one(repository, &shelf, known, entries, &mut warnings)?;
                }
                Err(error) => warnings.push(format!("{}: {error}", shelf.root().display())),
            }
        }
        self.warning_log.tell(&warnings);
        Ok(warnings)
    }

    fn refresh_one(
        &self,
        repository: &Repository,
        shelf: &Shelf,
        known: Vec<Uuid>,
        entries: Vec<Entry>,
        warnings: &mut Vec<String>,
    ) -> Result<(), SnapshotError> {
        let mut gone = known;
        for entry in entries {
            match entry {
                Entry::Snapshot(id, stamp) => {
                    if let Some(warning) = self.refresh_copy(repository, shelf, id, &stamp)? {
                        warnings.push(warning);
                    } else {
                        gone.retain(|known| *known != id);
                    }
                }
                Entry::Unmatched(id) => warnings.push(format!(
                    "{} has no manifest: it was not made by this program, which leaves it alone",
                    shelf.directory(id).display()
                )),
                // Empty but for what is ours, it is being made or removed.
                Entry::Unfinished(id) => {
                    for path in shelf.foreign_in_unfinished(id).unwrap_or_default() {
                        warnings.push(format!(
                            "{} was not made by this program, which leaves it alone; the snapshot that it was put into is gone: remove it by hand",
                            path.display()
                        ));
                    }
                }
                Entry::Foreign(path) => warnings.push(format!(
                    "{} was not made by this program, which leaves it alone",
                    path.display()
                )),
            }
        }
        for id in gone {
            self.catalog.forget(id, &repository.id)?;
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
    ) -> Result<Option<String>, SnapshotError> {
        let known = self.catalog.known(id, &repository.id)?;
        if known.is_some_and(|(known, mount_point)| {
            known == *stamp && mount_point == repository.mount_point
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
                Ok(None)
            }
            Ok((Err(error), _)) => refused(error.to_string()),
            // Deleted between the listing and now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => refused(error.to_string()),
        }
    }

    /// All snapshots, or one VM's, oldest first, whatever their standing.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn all(&self, vm_id: Option<&str>) -> Result<Vec<Snapshot>, SnapshotError> {
        let repositories = self.repositories.repositories();
        self.refresh(&repositories)?;
        let mut snapshots = Vec::new();
        let mounted = mounted(&repositories);
        for id in self.catalog.snapshots(vm_id)? {
            snapshots.extend(Snapshot::assemble(&self.catalog.copies(id)?, &mounted));
        }
        snapshots.sort_by_key(|snapshot| (snapshot.manifest.created_at, snapshot.id()));
        Ok(snapshots)
    }

    /// The snapshot `id` of a VM, whatever its standing. `id` is looked up, never made into a
    /// path.
    ///
    /// # Errors
    /// [`SnapshotError::Unknown`], [`SnapshotError::OtherVm`].
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
                Snapshot::assemble(&self.catalog.copies(id)?, &mounted(&repositories))
                    .ok_or_else(unknown)?
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

    /// A snapshot straight from the catalog, if every copy is still the one that was read. Costs
    /// a `stat` a copy.
    fn find_known(&self, id: Uuid) -> Result<Option<Snapshot>, SnapshotError> {
        let copies = self.catalog.copies(id)?;
        let current = copies.iter().all(|copy| {
            let shelf = Shelf::of(&copy.mount_point);
            shelf.stamp(id).is_ok_and(|stamp| stamp == copy.stamp)
        });
        if !current {
            return Ok(None);
        }
        let places: Vec<_> = copies
            .iter()
            .map(|copy| (copy.repository.clone(), copy.mount_point.clone()))
            .collect();
        // Whatever is not plain takes the longer way.
        Ok(Snapshot::assemble(&copies, &places)
            .filter(|snapshot| snapshot.standing == Standing::Ready))
    }
}

/// Ids and mount points of the repositories that are mounted.
fn mounted(repositories: &[Repository]) -> Vec<(String, PathBuf)> {
    repositories
        .iter()
        .filter(|repository| repository.status().is_some())
        .map(|repository| (repository.id.clone(), repository.mount_point.clone()))
        .collect()
}
