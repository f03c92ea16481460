//! Which volumes an increment may go to: those that hold the base, as far as can be told.
//!
//! A name says little. A worker that was made anew at the same address has other volumes, or the same in
//! another order, and storage puts older copies back. So each of them is [looked at](super::look) first.

use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::disk::Goal;
use super::look::{Look, Verdict};
use super::plan::Plan;
use super::run::{Run, abandon};
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
        let said = goals.iter().filter(|goal| is_said_otherwise(&state, goal));
        let other = seen.chain(said).next().map(|goal| goal.disk.name.clone());
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
                // Two that were exchanged may differ where only one of them was looked at.
                (Verdict::Holds, Some(other)) if !is_said(&state, goal) => format!(
                    "{} may be another volume too, since that of {other} is not as the last run has \
                     left it",
                    goal.facts.name
                ),
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
        let mut looking = JoinSet::new();
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
        let mut is_ending = false;
        // To the end of all of them: nothing may be left at work.
        loop {
            let one = tokio::select! {
                one = looking.join_next() => one,
                () = self.stop.stopped(), if !is_ending => {
                    is_ending = true;
                    tokio::spawn(abandon(self.targets()));
                    continue;
                }
            };
            let Some(one) = one else {
                break;
            };
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

/// Whether by what the owner says it is another volume than in the last run.
fn is_said_otherwise(state: &ReplicaState, goal: &Goal) -> bool {
    let left = state.disks.get(&goal.disk.name);
    let left = left.and_then(|left| left.fingerprint.as_ref());
    let said = left.zip(goal.facts.fingerprint.as_ref());
    goal.target.is_opaque() && said.is_some_and(|(left, found)| left.is_another_device(found))
}

/// Whether the owner says which volume it is, and has said the same in the last run: where the two differ
/// it was found out before.
fn is_said(state: &ReplicaState, goal: &Goal) -> bool {
    let left = state.disks.get(&goal.disk.name);
    let left = left.and_then(|left| left.fingerprint.as_ref());
    left.is_some() && goal.facts.fingerprint.is_some()
}
