//! A run, in its order. Whatever stands before a save has happened when the save is found; whatever
//! stands behind it may have happened, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::disk::{Goal, replicate};
use super::endpoints::{Endpoint, Endpoints};
use super::journal::{Journal, blocking};
use super::options::Options;
use super::plan::{Plan, TargetFacts};
use super::progress::Progress;
use super::replication::Opener;
use super::stop::Stop;
use super::{
    Cancellation, DiskOutcome, Event, How, Outcome, Pending, ReplicateError, Replication,
    StateStore,
};
use crate::client::target::{Fingerprint, Target};
use crate::protocol::{Snapshot, SnapshotDisk, SnapshotRequest};

/// How long a snapshot that nobody needs is worth waiting for: it is in the state.
pub(super) const DROP_PATIENCE: Duration = Duration::from_secs(20);

/// A run that has begun.
pub(super) struct Run {
    pub(super) vm: String,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) journal: Journal,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) options: Options,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: Stop,
    cancellation: Cancellation,
    named: BTreeMap<String, Arc<dyn Target>>,
    opener: Option<Arc<Opener>>,
    /// What was opened. Kept: a target is locked, and cannot be opened twice.
    opened: Mutex<BTreeMap<String, Arc<dyn Target>>>,
    warnings: Mutex<Vec<String>>,
    dropped: Mutex<Vec<Uuid>>,
}

/// The snapshot that a run begins with.
enum Begin {
    /// What an earlier run has begun to write has to be finished.
    Finish(Snapshot),
    Nothing,
}

pub(super) async fn run(setup: Replication) -> Result<Outcome, ReplicateError> {
    let begun = Instant::now();
    let run = Run::set_up(setup).await?;
    let result = run.go(begun).await;
    if let Err(error) = &result
        && !matches!(error, ReplicateError::Cancelled)
    {
        run.tidy_up().await;
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

    /// Deals with what an earlier run has left.
    async fn settle(&self) -> Result<Begin, ReplicateError> {
        let Some(pending) = self.journal.state().await.pending else {
            return Ok(Begin::Nothing);
        };
        match pending.snapshot {
            None => {
                // No release writes before it knows its snapshot. Whoever did has written anything.
                let reason = "it was written to by a run that knew no snapshot";
                // Whatever it has made is no longer of now.
                let now = Timestamp::now();
                let change = self.journal.change(|state| {
                    state.distrust_dirty(reason);
                    state.lose_request(now);
                });
                change.await?;
                Ok(Begin::Nothing)
            }
            Some(_) if pending.dirty.is_empty() => {
                let change = self.journal.change(|state| state.abandon("never written"));
                change.await?;
                Ok(Begin::Nothing)
            }
            Some(id) => self.find_half_applied(id).await,
        }
    }

    /// A snapshot that is partly on the targets: nothing but it, or a comparison of all bytes, may
    /// follow there.
    async fn find_half_applied(&self, id: Uuid) -> Result<Begin, ReplicateError> {
        let what = format!("read snapshot {id}, which an interrupted run was copying");
        let found = self
            .endpoints
            .ask(&what, |client| {
                let vm = self.vm.clone();
                async move { client.snapshot(&vm, id, None).await }
            })
            .await;
        let gone = match found {
            Ok(snapshot) => {
                self.progress.on(&Event::SnapshotTaken {
                    snapshot: id,
                    is_leftover: true,
                });
                return Ok(Begin::Finish(snapshot));
            }
            Err(ReplicateError::Call { source, .. })
                if matches!(
                    source.status(),
                    Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT)
                ) =>
            {
                source
            }
            Err(error) => return Err(error),
        };
        // A node that does not see the machine now does not see its snapshots either.
        self.look_at_machine().await?;
        let reason = format!("an interrupted run has written snapshot {id} to it in part ({gone})");
        self.warn(format!(
            "snapshot {id}, which an interrupted run was copying, cannot be used any more: {gone}"
        ));
        self.journal.change(|state| state.abandon(&reason)).await?;
        Ok(Begin::Nothing)
    }

    async fn look_at_machine(&self) -> Result<(), ReplicateError> {
        let what = format!("look at machine {}", self.vm);
        self.endpoints
            .ask(&what, |client| {
                let vm = self.vm.clone();
                async move { client.vm(&vm).await.map(drop) }
            })
            .await
    }

    /// Takes a snapshot. Its key is saved before it is asked for: it can always be found again.
    async fn take_snapshot(&self) -> Result<Snapshot, ReplicateError> {
        let request = self.options.request(Uuid::new_v4().to_string());
        let pending = Pending {
            request: request.clone(),
            snapshot: None,
            dirty: BTreeSet::new(),
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
                async move { client.create_snapshot_with(&vm, &request).await }
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
        let goals = self.goals(snapshot, is_first).await?;
        self.may_be_written(snapshot, &goals).await?;
        // What shows that a target is not what it was, such as its size, is gone once it is prepared.
        self.journal
            .change(|state| {
                for goal in &goals {
                    state.targets.insert(goal.facts.name.clone());
                    let plan = Plan::of(state, &goal.disk, &goal.facts);
                    if plan.suspect {
                        state.distrust(&goal.disk.name, &plan.why);
                    }
                }
            })
            .await?;
        // What can be found out before anything is written. A target that has to be cut is not:
        // that would take bytes of the base away.
        for goal in &goals {
            if goal.facts.size <= goal.disk.size {
                goal.prepare().await?;
            }
        }
        let turns = Arc::new(Semaphore::new(self.options.parallel_disks));
        let mut at_work = JoinSet::new();
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
        while let Some(done) = at_work.join_next().await {
            match done {
                Ok(Ok((outcome, state))) => {
                    known.insert(outcome.name.clone(), state);
                    outcomes.push(outcome);
                }
                Ok(Err(error)) => {
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
        if let Some(error) = failed {
            return Err(error);
        }
        self.stop.check()?;
        let id = snapshot.id;
        self.journal
            .change(|state| state.advance(id, known))
            .await?;
        self.progress.on(&Event::Advanced { snapshot: id });
        self.drop_what_is_over(&self.endpoints).await?;
        outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(outcomes)
    }

    /// Whether nothing is lost that is not this replica's.
    async fn may_be_written(
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
            let is_blank = facts.size == 0 || target.zeroed();
            if !is_blank && !self.options.overwrite && !state.owns(&name) {
                return Err(ReplicateError::Occupied { disk, target: name });
            }
        }
        Ok(())
    }

    /// Opens the targets.
    async fn goals(
        self: &Arc<Run>,
        snapshot: &Snapshot,
        is_first: bool,
    ) -> Result<Vec<Goal>, ReplicateError> {
        let mut goals: Vec<Goal> = Vec::new();
        for disk in &snapshot.disks {
            let (run, disk) = (Arc::clone(self), disk.clone());
            let goal = blocking(move || run.goal(disk, is_first)).await??;
            let twice = goals
                .iter()
                .find(|other| Arc::ptr_eq(&other.target, &goal.target));
            if let Some(other) = twice {
                return Err(ReplicateError::Setup(format!(
                    "{} and {} go to the same target, {}; name another one",
                    other.disk.name, goal.disk.name, goal.facts.name
                )));
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
            readable: target.readable(),
            fingerprint: target
                .fingerprint()
                .map_err(|error| failed(Some(&target), error))?,
        };
        Ok(Goal {
            disk,
            target,
            facts,
        })
    }

    /// Deletes what nobody needs. What cannot be deleted now stays in the state, and is no failure.
    async fn drop_what_is_over(&self, endpoints: &Endpoints) -> Result<(), ReplicateError> {
        self.find_lost(endpoints).await?;
        let state = self.journal.state().await;
        let mut gone = BTreeSet::new();
        for id in state.to_drop {
            let what = format!("delete snapshot {id}");
            let patience = DROP_PATIENCE.min(self.options.patience);
            let deleted = endpoints
                .ask_for(patience, &what, |client| {
                    let vm = self.vm.clone();
                    async move { client.delete_snapshot(&vm, id).await }
                })
                .await;
            match deleted {
                Ok(()) => {
                    gone.insert(id);
                    self.progress.on(&Event::SnapshotDropped { snapshot: id });
                }
                Err(ReplicateError::Cancelled) => return Err(ReplicateError::Cancelled),
                Err(error) => self.warn(format!("{error}; the next run tries again")),
            }
        }
        self.journal
            .change(|state| state.to_drop.retain(|id| !gone.contains(id)))
            .await?;
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.extend(gone);
        Ok(())
    }

    /// After a failure: a snapshot of which nothing was written is of no use to the next run, nor is
    /// a request that was refused. What does not work here the next run does.
    async fn tidy_up(&self) {
        let pending = self.journal.state().await.pending;
        if !pending.is_some_and(|pending| pending.dirty.is_empty()) {
            return;
        }
        let now = Timestamp::now();
        let change = self.journal.change(|state| {
            state.lose_request(now);
            state.abandon("never written");
        });
        if change.await.is_err() {
            return;
        }
        let endpoints = Endpoints {
            all: self.endpoints.all.clone(),
            patience: DROP_PATIENCE,
            progress: Arc::clone(&self.progress),
            stop: Stop::new(&self.cancellation),
        };
        let _ = self.drop_what_is_over(&endpoints).await;
    }

    pub(super) fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
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
