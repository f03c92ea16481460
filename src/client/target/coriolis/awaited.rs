//! What the threads of a writer wait for, until it ends.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::ending::Ending;

/// A state that some threads change, and others wait for to be as they need it.
#[derive(Debug)]
pub(super) struct Awaited<S> {
    ending: Ending,
    state: Mutex<S>,
    changed: Condvar,
}

impl<S> Awaited<S> {
    pub(super) fn new(state: S) -> Awaited<S> {
        Awaited {
            ending: Ending::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// The state as it is. Whoever changes it so that others may go on says so: [`Awaited::wake`].
    pub(super) fn now(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once it is so.
    ///
    /// # Errors
    /// What ended the writer before.
    pub(super) fn once(&self, is_so: impl Fn(&S) -> bool) -> io::Result<MutexGuard<'_, S>> {
        let mut state = self.now();
        loop {
            self.ending.check()?;
            if is_so(&state) {
                return Ok(state);
            }
            state = self.wait(state);
        }
    }

    /// Waits until it is so, also where the writer has ended.
    pub(super) fn wait_until(&self, is_so: impl Fn(&S) -> bool) {
        let mut state = self.now();
        while !is_so(&state) {
            state = self.wait(state);
        }
    }

    fn wait<'s>(&self, state: MutexGuard<'s, S>) -> MutexGuard<'s, S> {
        let woken = self.changed.wait(state);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that wait look again.
    pub(super) fn wake(&self) {
        // Not between a look at the ending and the waiting.
        drop(self.now());
        self.changed.notify_all();
    }

    /// Ends the writer.
    pub(super) fn fail(&self, error: &io::Error) {
        self.ending.fail(error);
        self.wake();
    }

    /// The same where nothing has failed here.
    pub(super) fn abandon(&self, name: &str) {
        self.ending.abandon(name);
        self.wake();
    }
}
