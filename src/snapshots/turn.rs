//! Waiting for one's turn, with an end.
//!
//! Whoever changes something waits for locks first, and some of these waits cannot be bounded from
//! inside: on a cluster file system with a dead peer even opening a file can hang until the peer is
//! evicted. So whoever asked may give up while the operation still waits; an operation that finds
//! itself given up when its turn has come lets go and changes nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::SnapshotError;

/// One operation's wait.
#[derive(Debug)]
pub struct Turn {
    state: Mutex<State>,
    patience: Duration,
    deadline: Instant,
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
            state: Mutex::new(State::Waiting),
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

    fn replace(&self, from: State, to: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == from {
            *state = to;
        }
    }

    /// For the operation: the wait is over, its work begins. It may say so more than once.
    ///
    /// # Errors
    /// [`SnapshotError::GivenUp`] where nobody waits for it any more: it has to leave everything as it is.
    pub fn take(&self) -> Result<(), SnapshotError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::GivenUp {
            return Err(SnapshotError::GivenUp {
                seconds: self.patience.as_secs(),
            });
        }
        *state = State::Taken;
        Ok(())
    }

    /// For whoever waits: true where the operation has not begun and will not; false where it is at
    /// work, which is to be waited for.
    #[must_use]
    pub fn give_up(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Taken {
            return false;
        }
        *state = State::GivenUp;
        true
    }

    /// The same, only where the operation is in a call for a lock.
    #[must_use]
    pub fn give_up_at_lock(&self) -> bool {
        self.replace(State::AtLock, State::GivenUp);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == State::GivenUp
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
    fn what_is_left_ends_at_zero() {
        let turn = Turn::within(Duration::ZERO);
        assert_eq!(turn.left(), Duration::ZERO);
        assert!(Turn::within(Duration::from_secs(60)).left() > Duration::from_secs(50));
    }
}
