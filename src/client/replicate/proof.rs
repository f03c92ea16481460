//! Which volumes an increment may go to: those that hold the base, as far as can be told.
//!
//! A name says little. A worker that was made anew at the same address has other volumes, or the same in
//! another order, and storage puts older copies back. So each of them is [looked at](super::look) first.

use std::sync::Arc;

use uuid::Uuid;

use super::at_work::AtWork;
use super::disk::Goal;
use super::look::{Look, Verdict};
use super::plan::Plan;
use super::run::Run;
use super::{How, ReplicaState, ReplicateError};

impl Run {
    /// Looks at volumes that an increment is to go to, which are acquired and not yet written to.
    /// Where this run has brought them to the base itself a moment ago, nobody has to tell which they
    /// are.
    ///
    /// # Errors
    /// [`ReplicateError::Unproven`] for one that is not known to hold the base, unless whatever lies
    /// there may be overwritten: then its goal says why it is copied in full.
    pub(super) async fn prove(
        self: &Arc<Run>,
        snapshot: Uuid,
        goals: &mut [Goal],
        is_first: bool,
    ) -> Result<(), ReplicateError> {
        let state = self.journal.state().await;
        let verdicts = self.verdicts(&state, snapshot, goals).await?;
        let seen = verdicts
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Other(_)))
            .filter_map(|(number, _)| goals.get(*number));
        let otherwise = goals
            .iter()
            .filter(|goal| Said::of(&state, goal) == Said::Another);
        let other = seen
            .chain(otherwise)
            .next()
            .map(|goal| goal.disk.name.clone());
        let unproven = |goal: &Goal, reason: &str| ReplicateError::Unproven {
            disk: goal.disk.name.clone(),
            target: goal.facts.name.clone(),
            reason: reason.to_owned(),
        };
        let mut refused = None;
        for (number, verdict) in verdicts {
            let Some(goal) = goals.get_mut(number) else {
                continue;
            };
            let reason = match (&verdict, &other) {
                (Verdict::BaseLost(reason), _) => {
                    goal.facts.doubt = Some(format!("the base cannot be used: {reason}"));
                    continue;
                }
                (Verdict::Unknown(_), None) if !is_first => continue,
                (Verdict::Unknown(reason) | Verdict::Other(reason), _) => reason.clone(),
                // Two that were exchanged may differ where only one of them was looked at. Where the owner
                // says the same of one as in the last run, it is no other: that was found out before.
                (Verdict::Holds, Some(other)) if Said::of(&state, goal) == Said::Nothing => {
                    format!(
                        "{} may be another volume too, since that of {other} is not as the last run has \
                     left it",
                        goal.facts.name
                    )
                }
                (Verdict::Holds, _) => continue,
            };
            if !self.options.overwrite {
                // What was seen tells more than what was not.
                if refused.is_none() || Some(&goal.disk.name) == other.as_ref() {
                    refused = Some(unproven(goal, &reason));
                }
                continue;
            }
            let name = &goal.disk.name;
            self.warn(format!("{name}: {reason}; all of it is copied"));
            goal.facts.doubt = Some(reason);
        }
        refused.map_or(Ok(()), Err)
    }

    /// By the numbers of their goals, in their order.
    async fn verdicts(
        self: &Arc<Run>,
        state: &ReplicaState,
        snapshot: Uuid,
        goals: &[Goal],
    ) -> Result<Vec<(usize, Verdict)>, ReplicateError> {
        let mut looking = AtWork::new();
        for (number, goal) in goals.iter().enumerate() {
            let name = goal.disk.name.as_str();
            let is_due = goal.target.is_opaque()
                && Plan::of(state, &goal.disk, &goal.facts).how == How::Incremental;
            let left = state.base.zip(state.disks.get(name));
            let Some((base, left)) = left.filter(|_| is_due) else {
                continue;
            };
            let look = Look {
                run: Arc::clone(self),
                goal: goal.clone(),
                base,
                left: left.clone(),
                snapshot,
                is_half: state.is_dirty(name),
            };
            looking.spawn(async move { (number, look.verdict().await) });
        }
        let mut found = Vec::new();
        // To the end of all of them: nothing may be left at work.
        while let Some(one) = looking.next(self).await {
            let failed = |error| ReplicateError::Setup(format!("looking at a volume: {error}"));
            found.push(one.map_err(failed)?);
        }
        self.stop.check()?;
        found.sort_by_key(|(number, _)| *number);
        let found = found.into_iter();
        found
            .map(|(number, verdict)| Ok((number, verdict?)))
            .collect()
    }
}

/// The volume ids given in the last run and in this one, where both were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Same,
    Another,
    /// In one of the runs, or of a target that can be read, none was given.
    Nothing,
}

impl Said {
    fn of(state: &ReplicaState, goal: &Goal) -> Said {
        let left = state.disks.get(&goal.disk.name);
        let left = left.and_then(|disk| disk.fingerprint.as_ref());
        match (left, &goal.facts.fingerprint) {
            (Some(left), Some(found)) if goal.target.is_opaque() => {
                if left.is_another_device(found) {
                    Said::Another
                } else {
                    Said::Same
                }
            }
            _ => Said::Nothing,
        }
    }
}
