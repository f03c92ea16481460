//! Which target each disk goes to, and whether it may be written to.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::ReplicateError;
use super::disk::Goal;
use super::journal::blocking;
use super::plan::TargetFacts;
use super::run::Run;
use crate::client::target::{Fingerprint, Target, path_in_use};
use crate::protocol::{Snapshot, SnapshotDisk};

impl Run {
    /// Opens the targets.
    pub(super) async fn goals(
        self: &Arc<Run>,
        snapshot: &Snapshot,
        is_first: bool,
    ) -> Result<Vec<Goal>, ReplicateError> {
        let state = self.journal.state().await;
        let mut goals: Vec<Goal> = Vec::new();
        for disk in &snapshot.disks {
            let (run, disk, before) = (Arc::clone(self), disk.clone(), goals.clone());
            let mut goal = blocking(move || {
                let goal = run.goal(disk, is_first);
                goal.map_err(|error| in_other_words(error, &before))
            })
            .await??;
            // Before its name is noted.
            goal.facts.was_ours = state.owns(&goal.facts.name);
            // A file or a device is locked by whoever opens it; what is elsewhere has a name only.
            let twice = goals.iter().find(|other| {
                let are_opaque = other.target.is_opaque() && goal.target.is_opaque();
                let said = goal.facts.fingerprint.as_ref();
                let is_same = other.facts.name == goal.facts.name
                    || said.is_some_and(|_| said == other.facts.fingerprint.as_ref());
                (are_opaque && is_same) || Arc::ptr_eq(&other.target, &goal.target)
            });
            if let Some(other) = twice {
                return Err(twice_the_same(other, &goal.disk.name, &goal.facts.name));
            }
            if goals.iter().any(|other| other.disk.name == goal.disk.name) {
                return Err(ReplicateError::Setup(format!(
                    "snapshot {} has two disks of the name {}",
                    snapshot.id, goal.disk.name
                )));
            }
            goals.push(goal);
        }
        Ok(goals)
    }

    /// Blocks.
    fn goal(&self, disk: SnapshotDisk, is_first: bool) -> Result<Goal, ReplicateError> {
        let failed = |target: Option<&Arc<dyn Target>>, source| ReplicateError::Target {
            disk: disk.name.clone(),
            target: target.map(|target| target.name()).unwrap_or_default(),
            offset: None,
            source,
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.named.get(&disk.name).or(opened.get(&disk.name));
        let target = match (known, &self.opener) {
            (Some(target), _) => Arc::clone(target),
            (None, Some(open)) => open(&disk)
                .map_err(|error| failed(None, error))?
                .ok_or_else(|| ReplicateError::NoTarget {
                    disk: disk.name.clone(),
                })?,
            (None, None) => {
                return Err(ReplicateError::NoTarget {
                    disk: disk.name.clone(),
                });
            }
        };
        opened.insert(disk.name.clone(), Arc::clone(&target));
        let facts = TargetFacts {
            name: target.name(),
            size: target
                .size()
                .map_err(|error| failed(Some(&target), error))?,
            // What was written in this run is no longer what it was at its start.
            zeroed: is_first && target.zeroed(),
            was_ours: false,
            readable: target.readable(),
            opaque: target.is_opaque(),
            fingerprint: target
                .fingerprint()
                .map_err(|error| failed(Some(&target), error))?,
            doubt: None,
        };
        Ok(Goal {
            disk,
            target,
            facts,
        })
    }

    /// Whether nothing is lost that is not this replica's.
    pub(super) async fn may_be_written(
        &self,
        snapshot: &Snapshot,
        goals: &[Goal],
    ) -> Result<(), ReplicateError> {
        let mut needed = vec![
            (self.store.name(), "where the state is kept"),
            (
                format!("{}.lock", self.store.name()),
                "the lock of the state",
            ),
        ];
        for disk in &snapshot.disks {
            let source = disk.parent_path.display().to_string();
            needed.push((source, "a disk of the machine itself"));
        }
        // Those that can be seen from here.
        let needed = blocking(move || {
            let found = needed.into_iter().filter_map(|(path, what)| {
                let found = std::fs::metadata(path).ok()?;
                Some((Fingerprint::of(&found).identity, what))
            });
            found.collect::<Vec<_>>()
        });
        let needed = needed.await?;
        let state = self.journal.state().await;
        for Goal {
            disk,
            target,
            facts,
        } in goals
        {
            let (disk, name) = (disk.name.clone(), facts.name.clone());
            let identity = facts.fingerprint.as_ref().map(|found| &found.identity);
            let forbidden = needed.iter().find(|(needed, _)| Some(needed) == identity);
            if let Some((_, what)) = forbidden {
                return Err(ReplicateError::Forbidden {
                    disk,
                    target: name,
                    what: (*what).to_owned(),
                });
            }
            let is_blank = (facts.size == 0 && !target.is_opaque()) || target.zeroed();
            let known = state.disks.get(&disk).filter(|known| known.target == name);
            let is_another = known
                .and_then(|known| known.fingerprint.as_ref())
                .zip(facts.fingerprint.as_ref())
                .is_some_and(|(left, found)| left.is_another_device(found));
            let is_ours = state.owns(&name) && !is_another;
            if !is_blank && !self.options.overwrite && !is_ours {
                return Err(ReplicateError::Occupied { disk, target: name });
            }
        }
        Ok(())
    }
}

/// Why a target cannot be opened, where this run has it for a disk before: perhaps under another name.
fn in_other_words(error: ReplicateError, before: &[Goal]) -> ReplicateError {
    let found = match &error {
        ReplicateError::Target { disk, source, .. } => path_in_use(source).and_then(|path| {
            let mut before = before.iter();
            let other = before.find(|other| is_the_same(path, Path::new(&other.facts.name)))?;
            let (name, had) = (path.display().to_string(), &other.facts.name);
            let also = if name == *had {
                name
            } else {
                format!("{name} ({had} is the same)")
            };
            Some(twice_the_same(other, disk, &also))
        }),
        _ => None,
    };
    found.unwrap_or(error)
}

fn twice_the_same(other: &Goal, disk: &str, target: &str) -> ReplicateError {
    ReplicateError::Setup(format!(
        "{} and {disk} go to the same target, {target}; name another one",
        other.disk.name
    ))
}

/// Whether two paths lead to one file, or one device.
fn is_the_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some(if found.file_type().is_block_device() {
            (None, found.rdev())
        } else {
            (Some(found.dev()), found.ino())
        })
    };
    let one = place(one);
    one.is_some() && one == place(other)
}
