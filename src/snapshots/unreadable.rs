//! Snapshots whose manifest lies where it should and cannot be read in any copy: damaged, or of a
//! later release. What belongs to them is not known, so they are left alone, and said.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use uuid::Uuid;

use super::Snapshots;
use super::error::SnapshotError;
use super::shelf::{Entry, Shelf};
use crate::ovm::repository::Repository;

/// A snapshot that nothing is known of but where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableSnapshot {
    /// The name of its directory.
    pub id: Uuid,
    /// Its directory, the first where there are several.
    pub directory: PathBuf,
    /// What is wrong with its manifest.
    pub reason: String,
    /// Whose it is, where what is left of its manifests still says that.
    pub vm_id: Option<String>,
}

impl Snapshots {
    /// Those in repositories that are mounted, by id. The catalog must be up to date. Blocks.
    ///
    /// # Errors
    /// The catalog's.
    pub fn unreadable(
        &self,
        repositories: &[Repository],
    ) -> Result<Vec<UnreadableSnapshot>, SnapshotError> {
        // One copy that can be read is enough: the snapshot is known by it.
        let known: HashSet<Uuid> = self.catalog.snapshots(None)?.into_iter().collect();
        let mut found: BTreeMap<Uuid, UnreadableSnapshot> = BTreeMap::new();
        for repository in repositories {
            if repository.status().is_none() {
                continue;
            }
            let shelf = Shelf::of(&repository.mount_point);
            // That it cannot be listed is a warning of the catalog's.
            for entry in shelf.entries().unwrap_or_default() {
                let (id, reason) = match entry {
                    Entry::Snapshot(id, _) if !known.contains(&id) => {
                        match shelf.read_manifest(id) {
                            Ok((Err(error), _)) => (id, error.to_string()),
                            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                                (id, error.to_string())
                            }
                            // Made meanwhile, a copy from elsewhere, or gone.
                            _ => continue,
                        }
                    }
                    Entry::Unreadable(id, error) if !known.contains(&id) => (id, error.to_string()),
                    _ => continue,
                };
                let vm_id = shelf.owner(id);
                let first = found.entry(id).or_insert_with(|| UnreadableSnapshot {
                    id,
                    directory: shelf.directory(id),
                    reason,
                    vm_id: vm_id.clone(),
                });
                first.vm_id = first.vm_id.take().or(vm_id);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Sees that no snapshot of a VM is left that only cannot be read: a delete of all must not say
    /// that they are gone. Of one whose VM is not known it is logged that it is left.
    ///
    /// # Errors
    /// [`SnapshotError::Left`]; the catalog's.
    pub fn see_that_none_is_left(&self, vm_id: &str) -> Result<(), SnapshotError> {
        let repositories = self.repositories.repositories();
        self.refresh(&repositories)?;
        let mut left = Vec::new();
        for unreadable in self.unreadable(&repositories)? {
            let shown = format!(
                "{} ({}: {})",
                unreadable.id,
                unreadable.directory.display(),
                unreadable.reason
            );
            match unreadable.vm_id {
                Some(owner) if owner == vm_id => left.push(shown),
                Some(_) => {}
                None => tracing::warn!(
                    vm = vm_id,
                    "all snapshots are deleted, but snapshot {shown} cannot be read and may be one \
                     of this machine"
                ),
            }
        }
        left.extend(repositories.iter().filter_map(|repository| {
            let reason = repository.silence()?;
            Some(format!(
                "what may lie in repository {} ({reason})",
                repository.id
            ))
        }));
        if left.is_empty() {
            return Ok(());
        }
        Err(SnapshotError::Left {
            vm_id: vm_id.to_owned(),
            left: left.join(", "),
        })
    }
}
