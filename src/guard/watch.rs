//! Watching that a guard lets go in time: one that was stopped (SIGSTOP) cannot, and is killed, so
//! that the daemon can in its place.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A watch over one guard. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    guard: u32,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Until(Instant),
    Over,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn over(guard: u32) -> Watch {
        Watch {
            guard,
            state: Arc::new((Mutex::new(State::Idle), Condvar::new())),
        }
    }

    /// Kills the guard after this time, unless the watch has ended.
    pub(super) fn begin(&self, limit: Duration) {
        let (lock, _) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != State::Idle {
            return;
        }
        *state = State::Until(Instant::now() + limit);
        drop(state);
        let (shared, guard) = (self.state.clone(), self.guard);
        let span = tracing::Span::current();
        let started = thread::Builder::new()
            .name("guard-watch".to_owned())
            .spawn(move || span.in_scope(|| wait(&shared, guard)));
        if let Err(error) = started {
            tracing::warn!("a guard is not watched, no thread can be started: {error}");
        }
    }

    /// The guard lets go, or is gone. When this returns it is not killed any more.
    pub(super) fn end(&self) {
        let (lock, changed) = &*self.state;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = State::Over;
        changed.notify_all();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

fn wait((lock, changed): &(Mutex<State>, Condvar), guard: u32) {
    let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
    while let State::Until(deadline) = *state {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::error!(guard, "the guard process does not let go: it is killed");
            // Under the lock: its parent has not waited for it, so the id is still its own.
            if let Ok(id) = i32::try_from(guard) {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
            return;
        }
        state = changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn who_does_not_let_go_in_time_is_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let watch = Watch::over(child.id());
        watch.begin(Duration::from_millis(50));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn who_does_is_not() {
        let mut child = Command::new("sleep").arg("0.3").spawn().unwrap();
        let watch = Watch::over(child.id());
        watch.begin(Duration::from_millis(100));
        watch.end();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
