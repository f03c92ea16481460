use std::time::Duration;

use crate::protocol::delta::Compression;
use crate::protocol::{Consistency, Lifetime, Refine, SnapshotRequest};

/// What may be chosen for a run.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) label: Option<String>,
    pub(super) expires_in: Option<Duration>,
    pub(super) consistency: Option<Consistency>,
    pub(super) disks: Option<Vec<String>>,
    pub(super) refine: Refine,
    pub(super) compression: Compression,
    /// Read back and compared with the snapshot before the state is advanced.
    pub(super) verify: bool,
    /// Whatever lies on a target that this replica has never written to may go.
    pub(super) overwrite: bool,
    /// After an interrupted run was finished, a fresh snapshot follows.
    pub(super) catch_up: bool,
    pub(super) parallel_disks: usize,
    pub(super) streams: usize,
    /// The least bytes of a disk that are worth a stream of their own.
    pub(super) least_segment: u64,
    /// Bytes a second that all streams together may take.
    pub(super) rate: Option<u64>,
    /// How long without any progress before an endpoint is given up.
    pub(super) patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            label: None,
            expires_in: None,
            consistency: None,
            disks: None,
            refine: Refine::default(),
            compression: Compression::default(),
            verify: false,
            overwrite: false,
            catch_up: true,
            parallel_disks: 4,
            streams: 2,
            least_segment: 256 << 20,
            rate: None,
            patience: Duration::from_secs(300),
        }
    }
}

impl Options {
    /// What a snapshot is asked for with.
    pub(super) fn request(&self, key: String) -> SnapshotRequest {
        SnapshotRequest {
            label: self.label.clone(),
            expires_in: self.expires_in.map(Lifetime),
            idempotency_key: Some(key),
            disks: self.disks.clone(),
            consistency: self.consistency,
        }
    }
}
