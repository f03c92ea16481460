use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Consistency;

/// What `GET /api/v1/snapshots` says of a snapshot, whichever machine it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct SnapshotEntry {
    /// Its id.
    pub id: Uuid,
    /// The machine that it is of; null where that is not known.
    pub vm_id: Option<String>,
    /// Whether it can be used.
    pub state: SnapshotState,
    /// Why it cannot be used, where it cannot.
    pub reason: Option<String>,
    /// When the clones were taken; null where nobody knows.
    pub created_at: Option<Timestamp>,
    /// Since then, seconds.
    pub age_seconds: Option<u64>,
    /// What its client calls it.
    pub label: Option<String>,
    /// When the daemon deletes it.
    pub expires_at: Option<Timestamp>,
    /// Whether its disks are of one moment.
    pub consistency: Consistency,
    /// The first generation made it.
    pub adopted: bool,
    /// Host name of the node that made it.
    pub node: Option<String>,
    /// Names of its disks.
    pub disks: Vec<String>,
    /// Bytes of all its disks, holes included.
    pub size: u64,
    /// Bytes that are held by it alone: what deleting it would free. Null where the file system
    /// cannot say.
    pub exclusive_bytes: Option<u64>,
    /// The key of the request that it was made for, where that had one.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// Whether a snapshot can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// It can.
    Ready,
    /// It is being made.
    Creating,
    /// It is being deleted.
    Deleting,
    /// A part of it lies on a repository that is not mounted.
    Waiting,
    /// A part of it was removed by hand: it can only be deleted.
    Broken,
    /// A folder that has no manifest and no machine.
    Unmatched,
    /// Its manifest cannot be read: damaged, or of a later release. It is left alone.
    Unreadable,
    /// In an answer of a later release: what this one does not know.
    #[serde(other)]
    Other,
}
