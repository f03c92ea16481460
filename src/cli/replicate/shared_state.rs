use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use crate::client::replicate::{ReplicaState, StateFile, StateStore};

/// A state that stays open, and so locked, from one run to the next.
#[derive(Debug, Clone)]
pub struct SharedState(pub Arc<StateFile>);

impl SharedState {
    /// Whether no run has come so far as to write to a target. Not known is no.
    pub fn is_untouched(&self) -> bool {
        let known = self.0.load();
        known.is_ok_and(|state| state.is_none_or(|state| state.targets.is_empty()))
    }

    /// When the snapshot was taken that the replica holds, if that is known.
    pub fn base_taken_at(&self) -> Option<Timestamp> {
        self.0.load().ok()??.base_taken_at
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_untouched_until_there_is_a_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let state = SharedState(Arc::new(StateFile::open(&path).unwrap()));
        assert!(state.is_untouched());
        let mut known = ReplicaState::new("vm");
        state.save(&known).unwrap();
        assert!(state.is_untouched());
        known.targets.insert("/dev/vdb".to_owned());
        state.save(&known).unwrap();
        assert!(!state.is_untouched());
        std::fs::write(&path, "{").unwrap();
        assert!(!state.is_untouched());
    }
}
