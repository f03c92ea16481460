use std::io;
use std::sync::{Mutex, PoisonError};

use super::ReplicaState;

/// Where the state of a replica is kept.
///
/// Calls come from blocking threads, one at a time. For as long as a store is held by a run, no
/// other run may use the same state: see to that, as [`StateFile`](super::StateFile) does with a
/// lock.
pub trait StateStore: Send + Sync {
    /// What was saved last; None where nothing was.
    ///
    /// # Errors
    /// What keeps it from being read, or from being understood.
    fn load(&self) -> io::Result<Option<ReplicaState>>;

    /// Returns when the state will be found by the next [`StateStore::load`], whatever happens:
    /// this one, never a part of it.
    ///
    /// # Errors
    /// What keeps it from being there. The one before has to be there still.
    fn save(&self, state: &ReplicaState) -> io::Result<()>;

    /// What messages call it.
    fn name(&self) -> String;
}

/// A state that is kept by the caller: in memory, until it asks for it.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<Option<ReplicaState>>);

impl InMemory {
    /// With what an earlier run has left.
    #[must_use]
    pub fn new(state: Option<ReplicaState>) -> InMemory {
        InMemory(Mutex::new(state))
    }

    /// What was saved last. Keep it whether or not the run has succeeded.
    #[must_use]
    pub fn state(&self) -> Option<ReplicaState> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl StateStore for InMemory {
    fn load(&self) -> io::Result<Option<ReplicaState>> {
        Ok(self.state())
    }

    fn save(&self, state: &ReplicaState) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        Ok(())
    }

    fn name(&self) -> String {
        "the state in memory".to_owned()
    }
}

impl<S: StateStore + ?Sized> StateStore for std::sync::Arc<S> {
    fn load(&self) -> io::Result<Option<ReplicaState>> {
        (**self).load()
    }

    fn save(&self, state: &ReplicaState) -> io::Result<()> {
        (**self).save(state)
    }

    fn name(&self) -> String {
        (**self).name()
    }
}
