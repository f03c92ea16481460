//! One disk, from what its target holds to what the snapshot has.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use uuid::Uuid;

use super::checksums::differing_there;
use super::digesting::{Pair, differing};
use super::dispenser::Segment;
use super::halt::Halt;
use super::job::{Job, Told};
use super::journal::blocking;
use super::places::Samples;
use super::plan::{Plan, TargetFacts};
use super::run::Run;
use super::tally::Tally;
use super::transfer::transfer;
use super::{DiskOutcome, DiskState, Event, How, ReplicaState, ReplicateError};
use crate::client::target::{Fingerprint, Held, Target};
use crate::protocol::SnapshotDisk;

/// A disk of a snapshot, and where it goes.
#[derive(Clone)]
pub(super) struct Goal {
    pub(super) disk: SnapshotDisk,
    pub(super) target: Arc<dyn Target>,
    pub(super) facts: TargetFacts,
}

impl Goal {
    pub(super) fn failed(&self, source: io::Error) -> ReplicateError {
        ReplicateError::Target {
            disk: self.disk.name.clone(),
            target: self.facts.name.clone(),
            offset: None,
            source,
        }
    }

    /// What the target looks like now.
    pub(super) async fn looks(&self) -> Result<Option<Fingerprint>, ReplicateError> {
        let target = Arc::clone(&self.target);
        let looks = blocking(move || target.fingerprint()).await?;
        looks.map_err(|error| self.failed(error))
    }

    /// Tells the target what the plan relies on.
    async fn rely(&self, state: &ReplicaState, plan: &Plan) -> Result<(), ReplicateError> {
        let target = Arc::clone(&self.target);
        let left = state.disks.get(&self.disk.name);
        let left = left.and_then(|known| known.fingerprint.clone());
        let (how, skip_zeros) = (plan.how, plan.skip_zeros);
        let told = blocking(move || {
            target.rely_on(match how {
                How::Incremental => Held::Base(left.as_ref()),
                _ if skip_zeros => Held::Zeros,
                _ => Held::Anything,
            })
        });
        told.await?.map_err(|error| self.failed(error))
    }

    /// Makes the target ready for the disk.
    pub(super) async fn prepare(&self) -> Result<(), ReplicateError> {
        let (target, size) = (Arc::clone(&self.target), self.disk.size);
        let prepared = blocking(move || target.prepare(size)).await?;
        prepared.map_err(|error| self.failed(error))
    }
}

/// Copies a disk and makes that durable. The state says before each step what the target may hold
/// after it.
pub(super) async fn replicate(
    run: &Arc<Run>,
    snapshot: Uuid,
    goal: Goal,
) -> Result<(DiskOutcome, DiskState), ReplicateError> {
    let begun = Instant::now();
    run.stop.check()?;
    let name = goal.disk.name.as_str();
    let state = run.journal.state().await;
    let tally = Arc::new(Tally::default());
    let mut plan = Plan::of(&state, &goal.disk, &goal.facts);
    let (told, places) = loop {
        let suspect = plan.suspect.then_some(plan.why.as_str());
        let looks = goal.looks().await?;
        run.journal.will_write(name, looks, suspect).await?;
        goal.rely(&state, &plan).await?;
        goal.prepare().await?;
        run.progress.on(&Event::DiskStarted {
            disk: name,
            size: goal.disk.size,
            how: plan.how,
            why: &plan.why,
        });
        let base = state.base.filter(|_| plan.how == How::Incremental);
        let job = job(run, snapshot, &goal, &plan, base, &tally);
        let parts = match plan.how {
            How::Digests => {
                run.progress.on(&Event::DiskDigested {
                    disk: name,
                    is_check: false,
                });
                differing(&run.endpoints, &pair(run, snapshot, &goal))
                    .await?
                    .segments
            }
            How::Incremental | How::Full => vec![Segment {
                from: 0,
                to: goal.disk.size,
            }],
        };
        job.set_goal(parts.iter().map(|part| part.to - part.from).sum());
        match transfer(&run.endpoints, &run.options, &job, parts).await {
            Ok(()) => {
                if let Err(error) = flush(run, &goal).await? {
                    let Some(reason) = job.does_not_hold(&error) else {
                        return Err(goal.failed(error));
                    };
                    tally.start_anew();
                    plan = Plan::without_base(reason, &goal.facts);
                    continue;
                }
                // The daemon may know that this base never had such a disk.
                if plan.how == How::Incremental && job.agreed.get() == Some(&None) {
                    plan.how = How::Full;
                    plan.why = job.told().reason.unwrap_or_default();
                }
                // What was copied before everything was copied anew tells no more than that.
                let older = state.disks.get(name).filter(|_| plan.how != How::Full);
                let older = older.map(|known| known.places.as_slice());
                break (job.told(), job.places(older.unwrap_or_default()));
            }
            Err(Halt::BaseLost(reason)) => {
                tally.start_anew();
                let why = match plan.how {
                    How::Incremental => format!("the base cannot be used: {reason}"),
                    _ => reason,
                };
                plan = Plan::without_base(why, &goal.facts);
            }
            Err(Halt::Error(error)) => {
                if let ReplicateError::Invalid { endpoint, .. } = &error {
                    let reason = format!("{endpoint} has sent something invalid");
                    run.journal.will_write(name, None, Some(&reason)).await?;
                }
                return Err(error);
            }
        }
    };
    let checked = check(run, snapshot, &goal).await?;
    let target = Arc::clone(&goal.target);
    // Nothing writes to it from here on.
    let left = blocking(move || Ok((target.size()?, target.fingerprint()?))).await?;
    let (size, fingerprint) = left.map_err(|error| goal.failed(error))?;
    run.progress.on(&Event::DiskFinished {
        disk: name,
        written: tally.data.load(Relaxed),
    });
    let name = goal.facts.name.clone();
    let known = DiskState::of(&goal.disk, name, size, fingerprint, places);
    Ok((outcome(&goal, plan, told, &tally, checked, begun), known))
}

/// Outer: the run cannot go on. Inner: the target refused to flush; the caller may copy anew.
async fn flush(run: &Run, goal: &Goal) -> Result<io::Result<()>, ReplicateError> {
    let target = Arc::clone(&goal.target);
    let flushed = blocking(move || target.flush()).await?;
    if let Err(error) = &flushed {
        // What became of bytes that were written before this run is not known either.
        if goal.facts.readable && !run.stop.is_stopped() {
            let name = goal.disk.name.as_str();
            let reason = format!("it could not be brought to stable storage ({error})");
            run.journal.will_write(name, None, Some(&reason)).await?;
        }
    }
    Ok(flushed)
}

fn job(
    run: &Run,
    snapshot: Uuid,
    goal: &Goal,
    plan: &Plan,
    base: Option<Uuid>,
    tally: &Arc<Tally>,
) -> Arc<Job> {
    Arc::new(Job {
        vm: run.vm.clone(),
        snapshot,
        disk: goal.disk.name.clone(),
        size: goal.disk.size,
        base,
        refine: run.options.refine,
        compression: run.options.compression,
        target: Arc::clone(&goal.target),
        skip_zeros: plan.skip_zeros,
        progress: Arc::clone(&run.progress),
        of: AtomicU64::new(goal.disk.size),
        tally: Arc::clone(tally),
        stop: run.stop.clone(),
        rate: Arc::clone(&run.rate),
        _store: Arc::clone(&run.store),
        agreed: OnceLock::new(),
        told: Mutex::default(),
        samples: (!goal.target.readable()).then(|| Mutex::new(Samples::new())),
    })
}

fn pair(run: &Run, snapshot: Uuid, goal: &Goal) -> Pair {
    Pair {
        vm: run.vm.clone(),
        snapshot,
        disk: goal.disk.name.clone(),
        size: goal.disk.size,
        target: Arc::clone(&goal.target),
    }
}

/// Whether the target holds what the snapshot has, if anybody wants to know.
async fn check(run: &Run, snapshot: Uuid, goal: &Goal) -> Result<Option<bool>, ReplicateError> {
    if !run.options.verify {
        return Ok(None);
    }
    let name = goal.disk.name.as_str();
    run.progress.on(&Event::DiskDigested {
        disk: name,
        is_check: true,
    });
    let pair = pair(run, snapshot, goal);
    let found = if goal.facts.readable {
        differing(&run.endpoints, &pair).await?
    } else {
        match differing_there(&run.endpoints, &pair).await? {
            Some(found) => found,
            None => return Ok(Some(false)),
        }
    };
    let offsets = found.offsets();
    let Some(first) = offsets.first() else {
        return Ok(Some(true));
    };
    let reason = format!("it did not hold what snapshot {snapshot} has");
    run.journal.will_write(name, None, Some(&reason)).await?;
    Err(ReplicateError::Mismatch {
        disk: name.to_owned(),
        target: goal.facts.name.clone(),
        snapshot,
        differing: offsets.len(),
        block: found.block,
        first: *first,
    })
}

fn outcome(
    goal: &Goal,
    plan: Plan,
    told: Told,
    tally: &Tally,
    checked: Option<bool>,
    begun: Instant,
) -> DiskOutcome {
    let endpoints = tally.shares();
    DiskOutcome {
        name: goal.disk.name.clone(),
        target: goal.facts.name.clone(),
        size: goal.disk.size,
        how: plan.how,
        why: match told.reason {
            Some(reason) if reason != plan.why => format!("{}; {reason}", plan.why),
            _ => plan.why,
        },
        method: told.method,
        data: tally.data.load(Relaxed),
        zeros: tally.zeros.load(Relaxed),
        zeros_skipped: tally.zeros_skipped.load(Relaxed),
        received: endpoints.iter().map(|share| share.received).sum(),
        ranges: tally.ranges.load(Relaxed),
        resumed: tally.resumed.load(Relaxed),
        endpoints,
        checked,
        time: begun.elapsed(),
    }
}
