//! What a run has done.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::protocol::Consistency;

/// How a disk was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// What changed since the base.
    Incremental,
    /// The blocks whose digests differ on both sides.
    Digests,
    /// All of it.
    Full,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Incremental => "incremental",
            How::Digests => "digests",
            How::Full => "full",
        })
    }
}

/// What a run has done. The replica is the snapshot's, and the state says so.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The machine.
    pub vm: String,
    /// The snapshot that the replica holds: the base of the next run.
    pub snapshot: Uuid,
    /// When that was taken, by the node's clock: so old is the replica. None where the node did not say.
    pub taken_at: Option<Timestamp>,
    /// The one that it held before, if any.
    pub previous: Option<Uuid>,
    /// Whether the disks are of one moment.
    pub consistency: Consistency,
    /// The snapshot of an earlier run that was finished first.
    pub finished: Option<Uuid>,
    /// Every disk of `finished`, by name, where another snapshot followed it.
    pub finished_disks: Vec<DiskOutcome>,
    /// Every disk of the snapshot, by name. Disks of `finished` are not counted here.
    pub disks: Vec<DiskOutcome>,
    /// Disks of the base that the machine, or the selection, no longer has. Their targets stay as
    /// they are and get nothing more.
    pub forgotten: Vec<String>,
    /// Snapshots that were deleted.
    pub dropped: Vec<Uuid>,
    /// What did not go as it should have, in words for people.
    pub warnings: Vec<String>,
    /// How long it took, seconds.
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
}

/// What was done for one disk.
#[derive(Debug, Clone, Serialize)]
pub struct DiskOutcome {
    /// Its name.
    pub name: String,
    /// Where it went.
    pub target: String,
    /// Bytes of the disk.
    pub size: u64,
    /// How it was copied.
    pub how: How,
    /// Why so.
    pub why: String,
    /// How the daemon found what changed: `extents` or `content`.
    pub method: String,
    /// Bytes of the disk that were written.
    pub data: u64,
    /// Bytes of the disk that became zeros.
    pub zeros: u64,
    /// Bytes of zeros that were left out, because the target was zero.
    pub zeros_skipped: u64,
    /// Bytes that came over the wire for that.
    pub received: u64,
    /// Ranges that were written or zeroed.
    pub ranges: u64,
    /// Connections that broke and were taken up again.
    pub resumed: u64,
    /// Which endpoint has given how much of it.
    pub endpoints: Vec<EndpointShare>,
    /// Whether the replica was read back and compared with the snapshot: None where nobody asked,
    /// false where the target cannot be read.
    pub checked: Option<bool>,
    /// How long it took, seconds.
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
}

/// What one endpoint has given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointShare {
    /// The endpoint.
    pub endpoint: String,
    /// Bytes of the disk that it went over.
    pub covered: u64,
    /// Bytes that came over the wire.
    pub received: u64,
    /// Why it got no more work, where it did not.
    pub dropped: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for disk in &self.disks {
            writeln!(
                f,
                "{}: {}, {} bytes written, {} zeroed, {} received ({})",
                disk.name, disk.how, disk.data, disk.zeros, disk.received, disk.why
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        write!(f, "{} holds snapshot {}", self.vm, self.snapshot)?;
        match self.taken_at {
            Some(taken_at) => write!(f, " of {taken_at:.0}"),
            None => Ok(()),
        }
    }
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
