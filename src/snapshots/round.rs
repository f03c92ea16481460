//! One round of recovery: each repository is looked at by itself, and what lies on several is tended
//! when the last of them has been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::Snapshots;
use super::error::SnapshotError;
use super::recover::Plot;
use super::snapshot::{Reach, Snapshot};
use crate::ovm::repository::{Mount, Repository};

/// A round that has begun.
#[derive(Debug)]
pub struct Round {
    repositories: Vec<Repository>,
    looks: Mutex<Looks>,
}

/// What its looks have found so far.
#[derive(Debug, Default)]
struct Looks {
    /// Those that were looked at: by id.
    over: BTreeSet<String>,
    /// Snapshots of which a part lies where nobody has looked yet.
    waiting: BTreeSet<Uuid>,
    warnings: Vec<String>,
}

impl Round {
    /// Those that can be looked at.
    pub fn mounted(&self) -> impl Iterator<Item = &Repository> {
        let all = self.repositories.iter();
        all.filter(|repository| repository.status().is_some())
    }

    /// All of them. Those that could not be looked at up to now do not answer.
    pub(super) fn seen(&self) -> Vec<Repository> {
        let looks = self.looks();
        let mut seen = self.repositories.clone();
        for repository in &mut seen {
            if repository.status().is_some() && !looks.over.contains(&repository.id) {
                repository.mount = Mount::silent(&repository.mount_point);
            }
        }
        seen
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshots {
    /// Begins a round. Blocks, but for no repository that hangs.
    #[must_use]
    pub fn round(&self) -> Round {
        Round {
            repositories: self.repositories.repositories(),
            looks: Mutex::default(),
        }
    }

    /// Looks at a repository for all that there is to recover, with a word at each step: what can be
    /// tended now, in pieces that hang for themselves. Blocks.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn look(
        &self,
        round: &Round,
        at: &Repository,
        moved: &dyn Fn(),
    ) -> Result<Vec<Plot>, SnapshotError> {
        let mut warnings = Vec::new();
        let answers = self.refresh_one(at, &mut warnings, moved)?;
        let mut looks = round.looks();
        looks.warnings.extend(warnings);
        if !answers {
            return Ok(Vec::new());
        }
        looks.over.insert(at.id.clone());
        let reach = Reach::of(&round.repositories, &self.visits);
        let mut plots = BTreeMap::from([(vec![at.id.clone()], Plot::of(at))]);
        let mut candidates = std::mem::take(&mut looks.waiting);
        candidates.extend(self.catalog.ids_in(&at.id)?);
        let mut found: Vec<Snapshot> = Vec::new();
        for id in candidates {
            found.extend(Snapshot::assemble(&self.catalog.copies(id)?, &reach));
        }
        found.sort_by_key(|snapshot| (snapshot.manifest.created_at, snapshot.id()));
        for snapshot in found {
            let ids: Vec<String> = snapshot.shelves().into_iter().map(|(id, _)| id).collect();
            // Out of reach as a whole.
            if ids.is_empty() {
                continue;
            }
            if ids.iter().all(|id| looks.over.contains(id)) {
                let plot = plots.entry(ids);
                let plot = plot.or_insert_with_key(|ids| Plot::over(ids.clone()));
                plot.snapshots.push(snapshot);
            } else {
                looks.waiting.insert(snapshot.id());
            }
        }
        Ok(plots.into_values().collect())
    }

    /// Logs what the looks of a round have found wrong.
    pub fn tell_of(&self, round: &Round) {
        let warnings = std::mem::take(&mut round.looks().warnings);
        self.tell(warnings);
    }
}
