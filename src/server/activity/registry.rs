//! Operations that run, and the last ones that ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::protocol::{Operation, OperationKind, Outcome};
use crate::snapshots::Turn;

/// So many that ended are remembered, for watchers that have not looked since.
pub(super) const REMEMBERED: usize = 256;
/// So many may watch at a time.
const MOST_WATCHERS: usize = 16;

/// All of them.
#[derive(Debug)]
pub struct Activities {
    state: Mutex<State>,
    /// Its number goes up when one begins or ends.
    pub(super) changed: watch::Sender<u64>,
    pub(super) places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    ended: u64,
    running: BTreeMap<u64, Arc<Activity>>,
    /// The last ones, oldest first.
    last: VecDeque<Operation>,
}

/// What an operation is about.
#[derive(Debug, Clone)]
pub(in crate::server) struct Subject {
    pub(in crate::server) kind: OperationKind,
    pub(in crate::server) vm_id: String,
    pub(in crate::server) snapshot_id: Option<Uuid>,
    pub(in crate::server) disk: Option<String>,
    /// Bytes to send.
    pub(in crate::server) bytes_total: Option<u64>,
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Activity {
    id: u64,
    subject: Subject,
    started_at: Timestamp,
    begun: Instant,
    sent: AtomicU64,
    turn: Option<Arc<Turn>>,
}

impl Activity {
    fn now(&self, outcome: Option<Outcome>) -> Operation {
        let Subject {
            kind,
            vm_id,
            snapshot_id,
            disk,
            bytes_total,
        } = self.subject.clone();
        let sends = matches!(kind, OperationKind::Disk | OperationKind::Delta);
        Operation {
            id: self.id,
            kind,
            vm_id,
            snapshot_id,
            disk,
            started_at: self.started_at,
            elapsed_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            step: self.turn.as_ref().and_then(|turn| turn.doing()),
            bytes_sent: sends.then(|| self.sent.load(Relaxed)),
            bytes_total,
            outcome,
        }
    }
}

/// What a look shows.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) running: Vec<Operation>,
    /// Those that ended after the number that the look began with.
    pub(super) ended: Vec<Operation>,
    /// How many ended after it and are forgotten.
    pub(super) forgotten: u64,
    /// The number to begin the next look with.
    pub(super) number: u64,
}

impl Activities {
    /// Nothing runs.
    #[must_use]
    pub fn new() -> Arc<Activities> {
        Arc::new(Activities {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(MOST_WATCHERS)),
        })
    }

    /// Something begins. Where it goes step by step, `turn` knows them.
    pub(in crate::server) fn begin(
        self: &Arc<Self>,
        subject: Subject,
        turn: Option<Arc<Turn>>,
    ) -> Running {
        let mut state = self.lock();
        state.begun += 1;
        let activity = Arc::new(Activity {
            id: state.begun,
            subject,
            started_at: Timestamp::now(),
            begun: Instant::now(),
            sent: AtomicU64::new(0),
            turn,
        });
        state.running.insert(activity.id, activity.clone());
        drop(state);
        self.changed.send_modify(|number| *number += 1);
        Running {
            activities: self.clone(),
            activity,
            outcome: None,
        }
    }

    /// How many of each kind run.
    pub(in crate::server) fn counts(&self) -> BTreeMap<OperationKind, u64> {
        let mut counts = BTreeMap::new();
        for activity in self.lock().running.values() {
            *counts.entry(activity.subject.kind).or_default() += 1;
        }
        counts
    }

    /// What runs, and what ended since the look that gave this number.
    pub(super) fn look(&self, number: u64) -> Look {
        let state = self.lock();
        let new = state.ended.saturating_sub(number);
        let known = usize::try_from(new)
            .unwrap_or(usize::MAX)
            .min(state.last.len());
        Look {
            running: state.running.values().map(|one| one.now(None)).collect(),
            ended: state
                .last
                .iter()
                .skip(state.last.len() - known)
                .cloned()
                .collect(),
            forgotten: new - known as u64,
            number: state.ended,
        }
    }

    /// The number for a look that is to show nothing that has ended before now.
    pub(super) fn number(&self) -> u64 {
        self.lock().ended
    }

    fn end(&self, activity: &Activity, outcome: Outcome) {
        let mut state = self.lock();
        state.running.remove(&activity.id);
        state.ended += 1;
        if state.last.len() == REMEMBERED {
            state.last.pop_front();
        }
        state.last.push_back(activity.now(Some(outcome)));
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Running {
    activities: Arc<Activities>,
    activity: Arc<Activity>,
    outcome: Option<Outcome>,
}

impl Running {
    /// So many bytes more were sent.
    pub(in crate::server) fn sent(&self, bytes: u64) {
        self.activity.sent.fetch_add(bytes, Relaxed);
    }

    /// How it is going to have ended, unless this is said again.
    pub(in crate::server) fn ends(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// It ends with this result, which is handed back.
    pub(in crate::server) fn with<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        self.ends(match result {
            Ok(_) => Outcome::Done,
            Err(_) => Outcome::Failed,
        });
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What says nothing has panicked, or was a stream that nobody wants any more.
        let unsaid = match self.activity.subject.kind {
            OperationKind::Disk | OperationKind::Delta => Outcome::Left,
            _ => Outcome::Failed,
        };
        let outcome = self.outcome.unwrap_or(unsaid);
        self.activities.end(&self.activity, outcome);
    }
}
