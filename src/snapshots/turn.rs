//! Waiting for one's turn, with an end.
//!
//! Whoever changes something waits for locks first, and some of these waits cannot be bounded from
//! inside: on a cluster file system with a dead peer even opening a file can hang until the peer is
//! evicted. So whoever asked may give up while the operation still waits; an operation that finds
//! itself given up when its turn has come lets go and changes nothing.
//!
//! An operation at work is waited for. Where storage can hang while it works, it says what it does
//! step by step, and how long that may take: a step that lasts longer is given up too, and the
//! operation, when it wakes, finds that at its next step and undoes what it has made.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::SnapshotError;

/// One operation's wait.
#[derive(Debug)]
pub struct Turn {
    inner: Mutex<Inner>,
    patience: Duration,
    deadline: Instant,
}

#[derive(Debug)]
struct Inner {
    state: State,
    step: Option<Step>,
}

/// What an operation at work does, and what is said where that does not end.
#[derive(Debug)]
struct Step {
    what: String,
    limit: Duration,
    until: Instant,
    kind: Kind,
}

/// What becomes of an operation that is given up in the middle of a step.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It undoes what it has made.
    Making,
    /// The manifest of this snapshot says ready when the step ends: nothing is undone any more.
    Publishing(Uuid),
    /// It has made nothing.
    Reading,
}

impl Step {
    fn lasting(what: String, limit: Duration, kind: Kind) -> Step {
        Step {
            what,
            limit,
            until: Instant::now() + limit,
            kind,
        }
    }

    fn error(&self) -> SnapshotError {
        let (what, seconds) = (self.what.clone(), self.limit.as_secs());
        match self.kind {
            Kind::Making => SnapshotError::Stalled { what, seconds },
            Kind::Publishing(id) => SnapshotError::Unanswered { id, what, seconds },
            Kind::Reading => SnapshotError::NotRead { what, seconds },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Waiting, in a call for a lock that does not wait where the file system is well.
    AtLock,
    Taken,
    GivenUp,
}

impl Turn {
    /// A wait that begins now and lasts at most `patience`.
    #[must_use]
    pub fn within(patience: Duration) -> Turn {
        Turn {
            inner: Mutex::new(Inner {
                state: State::Waiting,
                step: None,
            }),
            patience,
            deadline: Instant::now() + patience,
        }
    }

    /// How long may still be waited for a lock.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long may be waited in all.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// For the operation: runs one attempt at a lock, which does not wait by itself. One that lasts
    /// hangs in the file system, and whoever asked need not wait for longer than it was told to.
    pub fn at_lock<T>(&self, attempt: impl FnOnce() -> T) -> T {
        self.replace(State::Waiting, State::AtLock);
        let result = attempt();
        self.replace(State::AtLock, State::Waiting);
        result
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, from: State, to: State) {
        let mut inner = self.inner();
        if inner.state == from {
            inner.state = to;
        }
    }

    /// For the operation: the wait is over, its work begins. It may say so more than once.
    ///
    /// # Errors
    /// [`SnapshotError::GivenUp`] where nobody waits for it any more: it has to leave everything as it is.
    pub fn take(&self) -> Result<(), SnapshotError> {
        let mut inner = self.inner();
        if inner.state == State::GivenUp {
            return Err(SnapshotError::GivenUp {
                seconds: self.patience.as_secs(),
            });
        }
        inner.state = State::Taken;
        Ok(())
    }

    /// For the operation, at work: what it does next, which should not take longer than `limit`.
    ///
    /// # Errors
    /// [`SnapshotError::Stalled`] where an earlier step took longer, so that nobody waits any more: it
    /// has to undo what it has made.
    pub fn step(&self, what: impl Into<String>, limit: Duration) -> Result<(), SnapshotError> {
        self.next(Step::lasting(what.into(), limit, Kind::Making))
    }

    /// The same for an operation that only reads.
    ///
    /// # Errors
    /// [`SnapshotError::NotRead`] where nobody waits any more: it has to stop reading.
    pub fn reading(&self, what: impl Into<String>, limit: Duration) -> Result<(), SnapshotError> {
        self.next(Step::lasting(what.into(), limit, Kind::Reading))
    }

    /// The same for the step from which on nothing is undone: it makes this snapshot ready.
    ///
    /// # Errors
    /// As [`Turn::step`].
    pub fn last_step(
        &self,
        id: Uuid,
        what: impl Into<String>,
        limit: Duration,
    ) -> Result<(), SnapshotError> {
        self.next(Step::lasting(what.into(), limit, Kind::Publishing(id)))
    }

    fn next(&self, step: Step) -> Result<(), SnapshotError> {
        let mut inner = self.inner();
        match (&inner.step, inner.state) {
            (Some(given_up), State::GivenUp) => Err(given_up.error()),
            _ => {
                inner.step = Some(step);
                Ok(())
            }
        }
    }

    /// For the operation: the last step is over.
    pub fn stepped(&self) {
        self.inner().step = None;
    }

    /// For whoever watches: what the operation does now, where it says so.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        self.inner().step.as_ref().map(|step| step.what.clone())
    }

    /// For whoever waits: what there is to say where a step takes too long. The operation is given
    /// up then.
    #[must_use]
    pub fn overdue(&self) -> Option<SnapshotError> {
        let mut inner = self.inner();
        let late = inner
            .step
            .as_ref()
            .filter(|step| inner.state == State::Taken && step.until <= Instant::now())?
            .error();
        inner.state = State::GivenUp;
        Some(late)
    }

    /// For whoever waits: true where the operation has not begun and will not; false where it is at
    /// work, which is to be waited for.
    #[must_use]
    pub fn give_up(&self) -> bool {
        let mut inner = self.inner();
        if inner.state == State::Taken {
            return false;
        }
        inner.state = State::GivenUp;
        true
    }

    /// The same, only where the operation is in a call for a lock.
    #[must_use]
    pub fn give_up_at_lock(&self) -> bool {
        self.replace(State::AtLock, State::GivenUp);
        self.inner().state == State::GivenUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_first_decides() {
        let turn = Turn::within(Duration::from_secs(1));
        turn.take().unwrap();
        assert!(!turn.give_up(), "it is at work");
        turn.take().unwrap();

        let turn = Turn::within(Duration::from_secs(1));
        assert!(turn.give_up());
        assert!(matches!(turn.take(), Err(SnapshotError::GivenUp { .. })));
        assert!(turn.give_up(), "still");
    }

    #[test]
    fn an_attempt_at_a_lock_can_be_given_up_before_other_waits() {
        let turn = Turn::within(Duration::ZERO);
        assert!(!turn.give_up_at_lock(), "it looks for something");
        turn.at_lock(|| ());
        assert!(!turn.give_up_at_lock(), "it has the lock");
        turn.at_lock(|| assert!(turn.give_up_at_lock()));
        assert!(matches!(turn.take(), Err(SnapshotError::GivenUp { .. })));

        let turn = Turn::within(Duration::ZERO);
        turn.take().unwrap();
        turn.at_lock(|| assert!(!turn.give_up_at_lock(), "it is at work"));
    }

    #[test]
    fn a_step_that_lasts_is_given_up_and_found_so_by_the_next() {
        let hour = Duration::from_secs(3600);
        let turn = Turn::within(hour);
        assert!(turn.overdue().is_none(), "it has not begun");
        turn.take().unwrap();
        assert!(turn.overdue().is_none(), "it is waited for");
        turn.step("one", hour).unwrap();
        assert!(turn.overdue().is_none());
        turn.step("two", Duration::ZERO).unwrap();
        let stalled = |error: &SnapshotError| matches!(error, SnapshotError::Stalled { what, .. } if what == "two");
        assert!(stalled(&turn.overdue().unwrap()));
        assert!(turn.overdue().is_none(), "it was said");
        assert!(stalled(&turn.step("three", hour).unwrap_err()));
        assert!(stalled(
            &turn.last_step(Uuid::nil(), "four", hour).unwrap_err()
        ));
        turn.take().unwrap_err();
    }

    #[test]
    fn what_is_ready_is_not_undone() {
        let turn = Turn::within(Duration::ZERO);
        turn.take().unwrap();
        turn.last_step(Uuid::nil(), "the end", Duration::ZERO)
            .unwrap();
        let said = turn.overdue().unwrap();
        assert!(matches!(said, SnapshotError::Unanswered { .. }), "{said}");
        turn.stepped();

        let turn = Turn::within(Duration::ZERO);
        turn.take().unwrap();
        turn.last_step(Uuid::nil(), "the end", Duration::ZERO)
            .unwrap();
        turn.stepped();
        assert!(turn.overdue().is_none());
        turn.take().unwrap();
    }

    #[test]
    fn what_only_reads_is_given_up_without_a_word_of_undoing() {
        let turn = Turn::within(Duration::ZERO);
        turn.take().unwrap();
        turn.reading("reading one", Duration::ZERO).unwrap();
        let said = turn.overdue().unwrap();
        assert!(matches!(said, SnapshotError::NotRead { .. }), "{said}");
        let hour = Duration::from_secs(3600);
        assert!(turn.reading("reading two", hour).is_err());
    }

    #[test]
    fn what_is_left_ends_at_zero() {
        let turn = Turn::within(Duration::ZERO);
        assert_eq!(turn.left(), Duration::ZERO);
        assert!(Turn::within(Duration::from_secs(60)).left() > Duration::from_secs(50));
    }
}
