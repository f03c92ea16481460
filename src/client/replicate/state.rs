//! What is known of a replica between two runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Place;
use crate::client::target::Fingerprint;
use crate::protocol::{SnapshotDisk, SnapshotRequest};

/// What this release writes in [`ReplicaState::version`], and the newest that it reads.
pub const STATE_VERSION: u32 = 1;

/// What is known of a replica between two runs. As JSON it is the caller's to keep: a
/// [`StateFile`](super::StateFile), a row in a database, a field of somebody else's record.
///
/// It tells nothing that is secret. It belongs to its targets: used with others it makes a run
/// slower, or, where those cannot be told apart, a replica wrong. Never put an older copy of it
/// back: nothing tells that the targets have moved on since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// [`STATE_VERSION`] of whoever wrote it.
    pub version: u32,
    /// The id of the machine that it is a replica of.
    pub vm: String,
    /// The snapshot whose bytes the targets hold, disturbed only by what `pending` and `suspect`
    /// say. None before the first run has succeeded.
    #[serde(default)]
    pub base: Option<Uuid>,
    /// When that snapshot was taken, by the node's clock: so old is the replica. None where the node did
    /// not say, and in states of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_taken_at: Option<Timestamp>,
    /// The disks of that snapshot by their names.
    #[serde(default)]
    pub disks: BTreeMap<String, DiskState>,
    /// The run that has begun and not ended.
    #[serde(default)]
    pub pending: Option<Pending>,
    /// Disks by their names whose targets may hold anything, and why.
    #[serde(default)]
    pub suspect: BTreeMap<String, String>,
    /// What the targets are called that this replica has, or may have, written to: what lies on
    /// others is somebody else's.
    #[serde(default)]
    pub targets: BTreeSet<String>,
    /// Snapshots of ours that nobody needs any more, to be deleted.
    #[serde(default)]
    pub to_drop: BTreeSet<Uuid>,
    /// Keys of requests whose snapshot is not known, and since when: looked for, and dropped where
    /// it is found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_keys: BTreeMap<String, Timestamp>,
}

/// A disk as the base has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskState {
    /// Bytes of the disk.
    pub size: u64,
    /// The file on the node that was cloned: another one under the same name is another disk.
    pub source: PathBuf,
    /// What its target is called.
    pub target: String,
    /// Bytes of the target: more than the disk's where that is a larger device.
    pub target_size: u64,
    /// What its target looked like when it was left. None where it does not tell: one that does is then
    /// compared by digests.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// Of a target that cannot be read: some of the places that were written last, where it is looked
    /// whether it is still the same one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What the snapshot was asked for with, key included: it is found by that.
    pub request: SnapshotRequest,
    /// The snapshot, once it is known.
    #[serde(default)]
    pub snapshot: Option<Uuid>,
    /// Disks by their names whose targets may have been written to.
    #[serde(default)]
    pub dirty: BTreeSet<String>,
    /// What those looked like when the run looked last. It does so all the time: what was changed
    /// later was not changed by it. Of what tells when it was changed, and is not in here, nobody knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, Fingerprint>,
}

impl ReplicaState {
    /// Nothing is known: the first run copies everything.
    #[must_use]
    pub fn new(vm: impl Into<String>) -> ReplicaState {
        ReplicaState {
            version: STATE_VERSION,
            vm: vm.into(),
            base: None,
            base_taken_at: None,
            disks: BTreeMap::new(),
            pending: None,
            suspect: BTreeMap::new(),
            targets: BTreeSet::new(),
            to_drop: BTreeSet::new(),
            lost_keys: BTreeMap::new(),
        }
    }

    /// Whether anything may have been written to the target of a disk, ever.
    pub(super) fn knows(&self, disk: &str) -> bool {
        self.disks.contains_key(disk) || self.suspect.contains_key(disk) || self.is_dirty(disk)
    }

    /// Whether this replica may have written to the target of that name, ever.
    pub(crate) fn owns(&self, target: &str) -> bool {
        self.targets.contains(target) || self.disks.values().any(|disk| disk.target == target)
    }

    /// Whether the run that has not ended may have written to it.
    pub(super) fn is_dirty(&self, disk: &str) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.dirty.contains(disk))
    }

    /// What the target of a disk looked like when the run that has not ended looked last.
    pub(super) fn seen(&self, disk: &str) -> Option<&Fingerprint> {
        self.pending.as_ref()?.seen.get(disk)
    }

    /// What the pending run has written to is suspect.
    pub(super) fn distrust_dirty(&mut self, reason: &str) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        for disk in std::mem::take(&mut pending.dirty) {
            self.distrust(&disk, reason);
        }
    }

    /// What its target holds cannot be relied on. The first reason is kept: it is the cause.
    pub(super) fn distrust(&mut self, disk: &str, reason: &str) {
        let known = self.suspect.entry(disk.to_owned());
        known.or_insert_with(|| reason.to_owned());
    }

    /// Gives the pending run up: its snapshot will be dropped, and what it has written to is
    /// suspect.
    pub(super) fn abandon(&mut self, reason: &str) {
        self.distrust_dirty(reason);
        let pending = self.pending.take();
        self.to_drop
            .extend(pending.and_then(|pending| pending.snapshot));
    }

    /// The pending snapshot is on the targets: it is the base from now on.
    pub(super) fn advance(
        &mut self,
        snapshot: Uuid,
        taken_at: Option<Timestamp>,
        disks: BTreeMap<String, DiskState>,
    ) {
        self.base_taken_at = taken_at;
        self.to_drop.extend(self.base.replace(snapshot));
        self.to_drop.remove(&snapshot);
        self.suspect.retain(|disk, _| !disks.contains_key(disk));
        self.disks = disks;
        self.pending = None;
    }
}

impl DiskState {
    pub(super) fn of(
        disk: &SnapshotDisk,
        target: String,
        target_size: u64,
        fingerprint: Option<Fingerprint>,
        places: Vec<Place>,
    ) -> DiskState {
        DiskState {
            size: disk.size,
            source: disk.parent_path.clone(),
            target,
            target_size,
            fingerprint,
            places,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(snapshot: u128, dirty: &[&str]) -> Pending {
        Pending {
            request: SnapshotRequest::default(),
            snapshot: Some(Uuid::from_u128(snapshot)),
            dirty: dirty.iter().map(|&disk| disk.to_owned()).collect(),
            seen: BTreeMap::new(),
        }
    }

    fn disk() -> DiskState {
        DiskState {
            size: 1,
            source: "/r/a.img".into(),
            target: "a".to_owned(),
            target_size: 1,
            fingerprint: None,
            places: Vec::new(),
        }
    }

    #[test]
    fn what_an_abandoned_run_wrote_to_is_suspect_and_its_snapshot_is_dropped() {
        let mut state = ReplicaState::new("vm");
        state.pending = Some(pending(1, &["a", "b"]));
        state.suspect.insert("b".to_owned(), "older".to_owned());
        state.abandon("newer");
        assert_eq!(state.pending, None);
        assert_eq!(state.to_drop, BTreeSet::from([Uuid::from_u128(1)]));
        assert_eq!(state.suspect["a"], "newer");
        assert_eq!(state.suspect["b"], "older");
    }

    #[test]
    fn an_advance_drops_the_old_base_and_trusts_only_what_it_has_written() {
        let mut state = ReplicaState::new("vm");
        state.base = Some(Uuid::from_u128(1));
        state.pending = Some(pending(2, &["a"]));
        for name in ["a", "elsewhere"] {
            state.suspect.insert(name.to_owned(), "why".to_owned());
        }
        let disks = BTreeMap::from([("a".to_owned(), disk())]);
        let taken_at = Some("2026-11-22T08:00:00Z".parse().unwrap());
        state.advance(Uuid::from_u128(2), taken_at, disks.clone());
        assert_eq!(state.base, Some(Uuid::from_u128(2)));
        assert_eq!(state.to_drop, BTreeSet::from([Uuid::from_u128(1)]));
        assert!(state.suspect.keys().eq(["elsewhere"]));
        assert_eq!(state.pending, None);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ReplicaState>(&json).unwrap(), state);
        assert_eq!(state.base_taken_at, taken_at);
        // The time of another snapshot is not this one's.
        state.advance(Uuid::from_u128(3), None, disks);
        assert_eq!(state.base_taken_at, None);
    }

    #[test]
    fn a_state_of_before_times_were_kept_is_read() {
        let text = r#"{"version": 1, "vm": "vm", "base": "00000000-0000-0000-0000-000000000001"}"#;
        let state: ReplicaState = serde_json::from_str(text).unwrap();
        assert_eq!(state.base, Some(Uuid::from_u128(1)));
        assert_eq!(state.base_taken_at, None);
    }
}
