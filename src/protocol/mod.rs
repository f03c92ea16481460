//! What goes over the wire: JSON types, durations, sizes. No I/O.
//!
//! The first generation's fields keep their names and meanings; ours are added beside them.
//! Everything is optional on the way in that an older daemon does not send.

#[cfg(feature = "client")]
pub mod delta;
#[cfg(feature = "client")]
pub mod digest;
mod disk_reads;
pub mod duration;
mod error;
mod health;
mod login;
mod node;
mod operation;
pub mod rbd;
mod refine;
mod report;
pub mod size;
mod snapshot;
mod snapshot_entry;
mod snapshot_request;
mod vm;

pub use disk_reads::{ChangeKind, ChangedRange, DiskDigests, RangePage};
pub use error::ErrorBody;
pub use health::{Health, HealthStatus};
pub use login::{LoginRequest, LoginResponse};
pub use node::{Node, Reflink, RepositoryInfo, UnmatchedFolder};
pub use operation::{Operation, OperationKind, Outcome};
pub use refine::Refine;
pub use report::{
    BootCode, Content, DiskContents, DiskReport, Firmware, GuestCheck, LogicalVolume, Partition,
    TableKind, VmReport, VolumeGroup,
};
pub use snapshot::{Chunk, Snapshot, SnapshotDisk};
pub use snapshot_entry::{SnapshotEntry, SnapshotState};
pub use snapshot_request::{Consistency, Lifetime, SnapshotChange, SnapshotRequest};
pub use vm::{Nic, Vm, VmDisk, VmState};
