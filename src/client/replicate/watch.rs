//! What the targets look like while they are written to, for the run after one that is killed: what
//! was changed much later than the last look was changed by somebody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::disk::Goal;
use super::journal::{Journal, blocking};
use crate::client::target::Target;

/// Between two looks: each is a small file that is written out.
const PERIOD: Duration = Duration::from_secs(5);

/// Looks at the targets of a run, again and again.
pub(super) struct Watch {
    /// By the names of their disks.
    targets: Vec<(String, Arc<dyn Target>)>,
    turns: Interval,
}

impl Watch {
    /// Over those that tell when they were changed.
    pub(super) fn over(goals: &[Goal]) -> Watch {
        let telling = goals.iter().filter(|goal| {
            let looks = goal.facts.fingerprint.as_ref();
            looks.is_some_and(|looks| looks.changed.is_some())
        });
        let targets = telling.map(|goal| (goal.disk.name.clone(), Arc::clone(&goal.target)));
        let mut turns = interval(PERIOD);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch {
            targets: targets.collect(),
            turns,
        }
    }

    /// Returns when it is time to look; cut short, it is still due then.
    pub(super) async fn is_due(&mut self) {
        self.turns.tick().await;
    }

    /// Saves what those look like that may have been written to. Where that does not work, the next
    /// run may find them changed, and compares their bytes.
    pub(super) async fn look(&self, journal: &Journal) {
        let targets = self.targets.clone();
        let looks = blocking(move || {
            let looks = targets
                .into_iter()
                .filter_map(|(disk, target)| Some((disk, target.fingerprint().ok()??)));
            looks.collect::<Vec<_>>()
        });
        let Ok(looks) = looks.await else {
            return;
        };
        let _ = journal
            .change(|state| {
                let Some(pending) = &mut state.pending else {
                    return;
                };
                for (disk, looks) in looks {
                    if pending.dirty.contains(&disk) {
                        pending.seen.insert(disk, looks);
                    }
                }
            })
            .await;
    }
}
