use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What `GET /api/v1/events` tells: something that takes a while, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Operation {
    /// Unique while the daemon runs.
    pub id: u64,
    /// What is done.
    pub kind: OperationKind,
    /// To which machine.
    pub vm_id: String,
    /// To which snapshot; null where it is all of the machine's, or a new one.
    pub snapshot_id: Option<Uuid>,
    /// To which disk.
    pub disk: Option<String>,
    /// Since when.
    pub started_at: Timestamp,
    /// Until now, or until its end, milliseconds.
    pub elapsed_ms: u64,
    /// What it is at, in words for people, where it says so.
    pub step: Option<String>,
    /// Bytes that were handed to the connection, of a stream.
    pub bytes_sent: Option<u64>,
    /// Bytes that it will be, where that is known.
    pub bytes_total: Option<u64>,
    /// How it ended; null while it runs.
    pub outcome: Option<Outcome>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OperationKind {
    /// Takes a snapshot.
    Snapshot,
    /// Deletes one, or all of a machine.
    Delete,
    /// Sends a disk, or ranges of it.
    Disk,
    /// Sends a delta.
    Delta,
    /// In an answer of a later release: what this one does not know.
    #[serde(other)]
    Other,
}

impl OperationKind {
    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Snapshot => "snapshot",
            OperationKind::Delete => "delete",
            OperationKind::Disk => "disk",
            OperationKind::Delta => "delta",
            OperationKind::Other => "other",
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it is done.
    Done,
    /// An error was answered, or ends the stream.
    Failed,
    /// A stream whose client has gone.
    Left,
}
