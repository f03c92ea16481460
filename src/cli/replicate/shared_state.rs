use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cli::output::moment;
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

    /// What the replica holds, if that is known.
    pub fn held(&self) -> Option<Held> {
        self.0.load().ok()?.map(|state| Held::of(&state))
    }
}

/// What a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// When the snapshot was taken that was copied to its end last, if that is known.
    pub base_taken_at: Option<Timestamp>,
    /// Disks of that snapshot that may hold something else by now, as after a run that was ended while it
    /// wrote to them; before there is one, all that may hold anything.
    pub disturbed: usize,
}

impl Held {
    fn of(state: &ReplicaState) -> Held {
        let dirty = state.pending.iter().flat_map(|pending| &pending.dirty);
        let disks: BTreeSet<&String> = dirty
            .chain(state.suspect.keys())
            // A disk that the base has not got takes nothing from what it has.
            .filter(|disk| state.base.is_none() || state.disks.contains_key(*disk))
            .collect();
        Held {
            base_taken_at: state.base_taken_at,
            disturbed: disks.len(),
        }
    }
}

/// So that it follows what has failed.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.base_taken_at, self.disturbed) {
            (None, 0) => Ok(()),
            (Some(time), 0) => write!(f, "; the replica is of {}", moment(time)),
            (time, disks) => {
                let time = time.map_or_else(|| "what it was".to_owned(), moment);
                let s = if disks == 1 { "" } else { "s" };
                write!(
                    f,
                    "; the replica is half-way between {time} and a newer snapshot ({disks} disk{s}): not to \
                     be used before a run succeeds"
                )
            }
        }
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

    #[test]
    fn a_disk_of_the_base_that_was_written_to_since_disturbs_it() {
        let mut state = ReplicaState::new("vm");
        assert_eq!(Held::of(&state).to_string(), "");
        let text = r#"{"request": {}, "dirty": ["a", "new"]}"#;
        state.pending = Some(serde_json::from_str(text).unwrap());
        assert_eq!(Held::of(&state).disturbed, 2);
        state.base = Some(uuid::Uuid::nil());
        state.base_taken_at = Some("2026-11-22T08:00:00Z".parse().unwrap());
        assert_eq!(Held::of(&state).disturbed, 0);
        let said = Held::of(&state).to_string();
        assert!(said.starts_with("; the replica is of 2026-11-22"), "{said}");
        for name in ["a", "b", "c"] {
            let text = r#"{"size": 1, "source": "/r/a", "target": "a", "target_size": 1}"#;
            let disk = serde_json::from_str(text).unwrap();
            state.disks.insert(name.to_owned(), disk);
        }
        for name in ["a", "b", "of another selection"] {
            state.suspect.insert(name.to_owned(), "why".to_owned());
        }
        assert_eq!(Held::of(&state).disturbed, 2);
        let said = Held::of(&state).to_string();
        assert!(said.contains("half-way between 2026-11-22"), "{said}");
        assert!(said.contains("(2 disks): not to be used"), "{said}");
    }
}
