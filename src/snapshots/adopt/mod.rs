//! Taking over what the first generation made.
//!
//! Its snapshots are folders like ours, `CoriolisSnapshots/<id>/`, without a manifest: what it knew
//! of them was in its database. A folder whose owner is beyond doubt is sealed and gets a manifest;
//! from then on it is a snapshot like any other, under the id that clients know. Every other folder
//! stays as it is, and `GET /node` says why.
//!
//! The folders without manifest are the work that is left to do, so there is no other state:
//! adoption looks at them at start and with every recovery, and the old database is read as long as
//! there are any.

mod complete;
mod folder;
mod judge;
mod orphans;
mod take;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::Snapshots;
use super::error::SnapshotError;
use super::former::{FormerDatabases, Word};
use super::shelf::Shelf;
use super::subject::Obstacle;
use crate::ovm::inventory::Inventory;
use crate::ovm::repository::Repository;
use folder::Folder;
use judge::{Verdict, View};
pub use orphans::{Orphans, Removed};
use take::Hindrance;

/// What adoption works with, and what it found out the last time.
#[derive(Debug)]
pub(super) struct Adoption {
    databases: FormerDatabases,
    /// Why a folder is as it is, by path.
    reasons: Mutex<HashMap<PathBuf, Obstacle>>,
}

/// A folder that is named like a snapshot, and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedFolder {
    /// The id that it has for a name.
    pub id: Uuid,
    /// Where it is.
    pub path: PathBuf,
    /// Why it was not adopted.
    pub reason: String,
    /// Names of the regular files in it that could be disks.
    pub files: Vec<String>,
    /// Bytes of the files in it, holes included.
    pub size: u64,
    /// Bytes that they take, shared with others or not.
    pub bytes: u64,
}

impl UnmatchedFolder {
    fn new(id: Uuid, folder: &Folder, reason: String) -> UnmatchedFolder {
        UnmatchedFolder {
            id,
            path: folder.path.clone(),
            reason,
            files: folder.files.iter().map(|file| file.name.clone()).collect(),
            size: folder.size,
            bytes: folder.allocated,
        }
    }
}

impl Adoption {
    pub(super) fn beside(db_file: &Path) -> Adoption {
        Adoption {
            databases: FormerDatabases::beside(db_file),
            reasons: Mutex::default(),
        }
    }

    /// Why a folder without manifest is as it is. None where it was not looked at yet.
    pub(super) fn reason(&self, path: &Path) -> Option<String> {
        self.obstacle(path).map(|obstacle| obstacle.reason)
    }

    fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.get(path).cloned()
    }

    /// Why a snapshot that has no manifest may get one yet: whoever asks for it must not be told
    /// that it is gone.
    pub(super) fn waits(&self, id: Uuid, repositories: &[Repository]) -> Option<String> {
        for repository in repositories {
            let shelf = Shelf::of(&repository.mount_point);
            let directory = shelf.directory(id);
            // With a manifest it is nothing to adopt, whether that can be read or not.
            if repository.status().is_none() || !directory.is_dir() || shelf.stamp(id).is_ok() {
                continue;
            }
            // Nor is one of ours that a hand took the manifest from.
            if shelf.read_note(id).is_some_and(|note| !note.adopted) {
                continue;
            }
            return match self.obstacle(&directory) {
                None => Some("the first generation made it, and it is being adopted".to_owned()),
                Some(obstacle) => obstacle.passing.then_some(obstacle.reason),
            };
        }
        let knowledge = self.databases.read();
        let Word::Known(record) = knowledge.of(id) else {
            return None;
        };
        let missing = repositories.iter().find(|repository| {
            let mut disks = record.disks.iter();
            repository.status().is_none()
                && disks.any(|disk| disk.mount_point == repository.mount_point)
        })?;
        Some(format!(
            "the first generation made it, and repository {} ({}) is not mounted here",
            missing.id,
            missing.mount_point.display()
        ))
    }
}

impl Snapshots {
    /// Adopts every folder whose owner is beyond doubt, and gives the ids of what it adopted. The
    /// inventory of the node is asked for only if there is such a folder at all. Blocks.
    ///
    /// # Errors
    /// The catalog's own. What keeps one folder from being adopted is its reason in
    /// [`Snapshots::unmatched`], and does not keep the others.
    pub fn adopt(
        &self,
        inventory: impl FnOnce(&[Repository]) -> Inventory,
    ) -> Result<Vec<Uuid>, SnapshotError> {
        let repositories = self.repositories.repositories();
        let mut reasons = HashMap::new();
        let mut adopted = Vec::new();
        let found = folder::find(&repositories);
        if !found.is_empty() {
            let view = View {
                repositories: &repositories,
                inventory: &inventory(&repositories),
                knowledge: &self.adoption.databases.read(),
            };
            let mut judged: Vec<_> = found
                .into_iter()
                .map(|found| (judge::judge(&found, &view), found))
                .collect();
            // In the order in which they were made: the later one of two with one time gives way.
            judged.sort_by_key(|(verdict, found)| match verdict {
                Verdict::Adopt(claim) => (Some(claim.created_at), found.id),
                _ => (None, found.id),
            });
            for (verdict, found) in judged {
                let passing = |hindrance: Hindrance| Obstacle {
                    reason: hindrance.to_string(),
                    passing: true,
                };
                let done = match verdict {
                    Verdict::Adopt(claim) => self.take_over(&claim).map_err(passing),
                    Verdict::Complete(manifest) => {
                        self.complete(&manifest, &repositories).map_err(passing)
                    }
                    Verdict::Stay(obstacle) => Err(obstacle),
                };
                match done {
                    Ok(()) => adopted.push(found.id),
                    Err(obstacle) => reasons.extend(
                        found
                            .folders
                            .into_iter()
                            .map(|folder| (folder.path, obstacle.clone())),
                    ),
                }
            }
        }
        *self
            .adoption
            .reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reasons;
        Ok(adopted)
    }

    /// The folders that are named like snapshots and are none, by path. Blocks.
    #[must_use]
    pub fn unmatched(&self) -> Vec<UnmatchedFolder> {
        let mut unmatched: Vec<UnmatchedFolder> = folder::find(&self.repositories.repositories())
            .iter()
            .flat_map(|found| found.folders.iter().map(|folder| (found.id, folder)))
            .map(|(id, folder)| {
                let reason = self.adoption.reason(&folder.path).unwrap_or_else(|| {
                    "it was not looked at yet: the next recovery does".to_owned()
                });
                UnmatchedFolder::new(id, folder, reason)
            })
            .collect();
        unmatched.sort_by(|one, other| one.path.cmp(&other.path));
        unmatched
    }
}
