//! A run, in its order. Whatever stands before a save has happened when the save is found; whatever
//! stands behind it may have happened, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::at_work::AtWork;
use super::disk::{Goal, replicate};
use super::endpoints::{Endpoint, Endpoints};
use super::journal::Journal;
use super::options::Options;
use super::past::Begin;
use super::plan::Plan;
use super::progress::Progress;
use super::rate::Rate;
use super::replication::Opener;
use super::stop::Stop;
use super::watch::Watch;
use super::{
    Cancellation, DiskOutcome, Event, How, Outcome, Pending, ReplicateError, Replication,
    StateStore,
};
use crate::client::target::Target;
use crate::protocol::{Snapshot, SnapshotRequest};

/// A run that has begun.
pub(super) struct Run {
    pub(super) vm: String,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) journal: Journal,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) options: Options,
    pub(super) rate: Arc<Rate>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: Stop,
    pub(super) cancellation: Cancellation,
    pub(super) named: BTreeMap<String, Arc<dyn Target>>,
    pub(super) opener: Option<Arc<Opener>>,
    /// What was opened. Kept: a target is locked, and cannot be opened twice.
    pub(super) opened: Mutex<BTreeMap<String, Arc<dyn Target>>>,
    warnings: Mutex<Vec<String>>,
    pub(super) dropped: Mutex<Vec<Uuid>>,
}

pub(super) async fn run(setup: Replication) -> Result<Outcome, ReplicateError> {
    let begun = Instant::now();
    let run = Run::set_up(setup).await?;
    let result = run.go(begun).await;
    if let Err(error) = &result {
        abandon(run.targets()).await;
        if !matches!(error, ReplicateError::Cancelled) {
            run.tidy_up().await;
        }
    }
    result
}

impl Run {
    async fn set_up(setup: Replication) -> Result<Arc<Run>, ReplicateError> {
        let missing = |what: &str| ReplicateError::Setup(format!("a replication needs {what}"));
        let store = setup
            .store
            .ok_or_else(|| missing("a state: Replication::state"))?;
        if setup.clients.is_empty() {
            return Err(missing("an endpoint: Replication::from"));
        }
        let rate = Arc::new(Rate::of(setup.options.rate)?);
        let streams = setup.options.streams;
        let endpoints = setup.clients.into_iter();
        let endpoints = endpoints.map(|client| Arc::new(Endpoint::new(client, streams)));
        let stop = Stop::new(&setup.cancellation);
        let endpoints = Endpoints {
            all: endpoints.collect(),
            patience: setup.options.patience,
            progress: Arc::clone(&setup.progress),
            stop: stop.clone(),
        };
        let vm = id_of(&endpoints, &setup.vm).await?;
        let journal = Journal::open(Arc::clone(&store), &vm).await?;
        let kept = journal.state().await.vm;
        if kept != vm {
            // It may be kept under another name of the same machine.
            match id_of(&endpoints, &kept).await {
                Ok(id) if id == vm => journal.change(|state| state.vm = id).await?,
                Err(error) if error.is_transient() => return Err(error),
                _ => {
                    return Err(ReplicateError::OtherMachine {
                        store: store.name(),
                        found: kept,
                        wanted: vm,
                    });
                }
            }
        }
        Ok(Arc::new(Run {
            endpoints: Arc::new(endpoints),
            vm,
            journal,
            store,
            options: setup.options,
            rate,
            progress: setup.progress,
            stop,
            cancellation: setup.cancellation,
            named: setup.named,
            opener: setup.opener,
            opened: Mutex::default(),
            warnings: Mutex::default(),
            dropped: Mutex::default(),
        }))
    }

    async fn go(self: &Arc<Run>, begun: Instant) -> Result<Outcome, ReplicateError> {
        let at_first = self.journal.state().await;
        let begin = self.settle().await?;
        self.drop_what_is_over(&self.endpoints).await?;
        let mut finished = None;
        let mut finished_disks = Vec::new();
        let (snapshot, disks) = match begin {
            Begin::Finish(snapshot) => {
                let disks = self.bring_to(&snapshot, true).await?;
                finished = Some(snapshot.id);
                if self.options.catch_up {
                    for disk in &disks {
                        let is_worse = at_first.disks.contains_key(&disk.name);
                        if is_worse && disk.how != How::Incremental {
                            self.warn(format!(
                                "{}: to finish snapshot {}, which an interrupted run was copying, \
                                 it was copied so: {} ({})",
                                disk.name, snapshot.id, disk.how, disk.why
                            ));
                        }
                    }
                    finished_disks = disks;
                    let next = self.take_snapshot().await?;
                    let disks = self.bring_to(&next, false).await?;
                    (next, disks)
                } else {
                    (snapshot, disks)
                }
            }
            Begin::Nothing => {
                let snapshot = self.take_snapshot().await?;
                let disks = self.bring_to(&snapshot, true).await?;
                (snapshot, disks)
            }
        };
        let names: BTreeSet<&str> = snapshot
            .disks
            .iter()
            .map(|disk| disk.name.as_str())
            .collect();
        let forgotten = at_first.disks.into_keys();
        let forgotten = forgotten.filter(|name| !names.contains(name.as_str()));
        Ok(Outcome {
            vm: self.vm.clone(),
            snapshot: snapshot.id,
            taken_at: snapshot.created_at,
            previous: at_first.base,
            consistency: snapshot.consistency,
            finished,
            finished_disks,
            forgotten: forgotten.collect(),
            disks,
            dropped: taken(&self.dropped),
            warnings: taken(&self.warnings),
            time: begun.elapsed(),
        })
    }

    /// Takes a snapshot. Its key is saved before it is asked for: it can always be found again.
    async fn take_snapshot(&self) -> Result<Snapshot, ReplicateError> {
        let request = self.options.request(Uuid::new_v4().to_string());
        let pending = Pending {
            request: request.clone(),
            snapshot: None,
            dirty: BTreeSet::new(),
            seen: BTreeMap::new(),
        };
        let change = self.journal.change(|state| state.pending = Some(pending));
        change.await?;
        let snapshot = self.create(request).await?;
        self.begin_with(snapshot).await
    }

    async fn create(&self, request: SnapshotRequest) -> Result<Snapshot, ReplicateError> {
        let what = format!("take a snapshot of machine {}", self.vm);
        self.endpoints
            .ask(&what, |client| {
                let (vm, request) = (self.vm.clone(), request.clone());
                async move { client.create_snapshot_without_ranges(&vm, &request).await }
            })
            .await
    }

    async fn begin_with(&self, snapshot: Snapshot) -> Result<Snapshot, ReplicateError> {
        let id = snapshot.id;
        let state = self.journal.state().await;
        if state.base == Some(id) || state.to_drop.contains(&id) {
            return Err(ReplicateError::Setup(format!(
                "a new snapshot was asked for, and the answer was {id}, which is an older one"
            )));
        }
        let change = self.journal.change(|state| {
            if let Some(pending) = &mut state.pending {
                pending.snapshot = Some(id);
            }
        });
        change.await?;
        self.progress.on(&Event::SnapshotTaken {
            snapshot: id,
            is_leftover: false,
        });
        Ok(snapshot)
    }

    /// Brings every target to the snapshot; then it is the base, and what was the base is dropped.
    async fn bring_to(
        self: &Arc<Run>,
        snapshot: &Snapshot,
        is_first: bool,
    ) -> Result<Vec<DiskOutcome>, ReplicateError> {
        for warning in &snapshot.warnings {
            self.warn(warning.clone());
        }
        let mut goals = self.goals(snapshot, is_first).await?;
        self.may_be_written(snapshot, &goals).await?;
        // What shows that a target is not what it was, such as its size, is gone once it is prepared.
        self.save_doubts(&goals).await?;
        // What can be found out before anything is written. A target that has to be cut is not:
        // that would take bytes of the base away.
        for goal in &goals {
            if goal.facts.size <= goal.disk.size {
                goal.prepare().await?;
            }
        }
        self.prove(snapshot.id, &mut goals, is_first).await?;
        // Also of those whose turn may not come in this run: a later one could find them as they should
        // be where it looks.
        self.save_doubts(&goals).await?;
        let mut watch = Watch::over(&goals);
        let turns = Arc::new(Semaphore::new(self.options.parallel_disks));
        let mut at_work = AtWork::new();
        for goal in goals {
            let (run, turns, id) = (Arc::clone(self), Arc::clone(&turns), snapshot.id);
            at_work.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let done = replicate(&run, id, goal).await;
                if done.is_err() {
                    run.stop.fail();
                }
                done
            });
        }
        let mut outcomes = Vec::new();
        let mut known = BTreeMap::new();
        let mut failed: Option<ReplicateError> = None;
        loop {
            let done = tokio::select! {
                done = at_work.next(self) => done,
                () = watch.is_due() => {
                    watch.look(&self.journal).await;
                    continue;
                }
            };
            let Some(done) = done else {
                break;
            };
            match done {
                Ok(Ok((outcome, state))) => {
                    known.insert(outcome.name.clone(), state);
                    outcomes.push(outcome);
                }
                Ok(Err(error)) => {
                    let error = error.or_cancelled();
                    // Those that were stopped for another's sake say nothing.
                    if !matches!(failed, Some(ref known) if !matches!(known, ReplicateError::Cancelled))
                    {
                        failed = Some(error);
                    }
                }
                Err(error) => {
                    self.stop.fail();
                    failed = Some(ReplicateError::Setup(format!("a disk's copy: {error}")));
                }
            }
        }
        let ended = failed.map_or_else(|| self.stop.check(), Err);
        if ended.is_err() {
            watch.look(&self.journal).await;
        }
        ended?;
        let id = snapshot.id;
        self.journal
            .change(|state| state.advance(id, snapshot.created_at, known))
            .await?;
        self.progress.on(&Event::Advanced { snapshot: id });
        self.drop_what_is_over(&self.endpoints).await?;
        outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(outcomes)
    }

    /// The state says which targets this replica has, and which of them cannot be relied on.
    async fn save_doubts(&self, goals: &[Goal]) -> Result<(), ReplicateError> {
        let change = self.journal.change(|state| {
            for goal in goals {
                state.targets.insert(goal.facts.name.clone());
                let plan = Plan::of(state, &goal.disk, &goal.facts);
                if plan.suspect {
                    state.distrust(&goal.disk.name, &plan.why);
                }
            }
        });
        change.await
    }

    /// Those that were opened.
    pub(super) fn targets(&self) -> Vec<Arc<dyn Target>> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.values().cloned().collect()
    }

    pub(super) fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// Says that nothing more is written to them, and returns when nothing is.
pub(super) async fn abandon(targets: Vec<Arc<dyn Target>>) {
    let mut at_work = JoinSet::new();
    for target in targets {
        at_work.spawn_blocking(move || target.abandon());
    }
    at_work.join_all().await;
}

/// The id of a machine, whichever of its names is given.
async fn id_of(endpoints: &Endpoints, vm: &str) -> Result<String, ReplicateError> {
    let what = format!("look at machine {vm}");
    let found = endpoints.ask(&what, |client| {
        let vm = vm.to_owned();
        async move { client.vm(&vm).await }
    });
    let id = found.await?.id;
    // The first generation answered none.
    Ok(if id.is_empty() { vm.to_owned() } else { id })
}

fn taken<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut list.lock().unwrap_or_else(PoisonError::into_inner))
}
