use std::io;
use std::sync::Arc;

use crate::client::replicate::{ReplicaState, StateFile, StateStore};

/// A state that stays open, and so locked, from one run to the next.
#[derive(Debug, Clone)]
pub struct SharedState(pub Arc<StateFile>);

impl StateStore for SharedState {
    fn load(&self) -> io::Result<Option<ReplicaState>> {
        self.0.load()
    }

    fn save(&self, state: &ReplicaState) -> io::Result<()> {
        self.0.save(state)
    }

    fn name(&self) -> String {
        self.0.name()
    }
}
