use std::time::Duration;

use uuid::Uuid;

use super::How;

/// Something that a run has come to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// There is a snapshot to copy.
    SnapshotTaken {
        /// It.
        snapshot: Uuid,
        /// An earlier run has made it, and has begun to copy it.
        is_leftover: bool,
    },
    /// A disk's copy begins.
    DiskStarted {
        /// Its name.
        disk: &'a str,
        /// Bytes of the disk.
        size: u64,
        /// How it will be copied.
        how: How,
        /// Why so.
        why: &'a str,
    },
    /// A disk's copy has come further. Comes about once for each megabyte that is written, from any
    /// thread.
    DiskAdvanced {
        /// Its name.
        disk: &'a str,
        /// So much of `of` is dealt with, bytes.
        done: u64,
        /// The disk's size; what has to be fetched, where digests tell that.
        of: u64,
        /// Bytes that have been written, zeros not counted.
        written: u64,
    },
    /// Both sides' digests are compared: to find out what to fetch, or to check the replica.
    DiskDigested {
        /// Its name.
        disk: &'a str,
        /// It is the check after the copy.
        is_check: bool,
    },
    /// A disk is as it is in the snapshot, on stable storage.
    DiskFinished {
        /// Its name.
        disk: &'a str,
        /// Bytes that were written, zeros not counted.
        written: u64,
    },
    /// A call has failed and will be made again.
    Retrying {
        /// The endpoint.
        endpoint: &'a str,
        /// Why.
        error: &'a str,
        /// After so long.
        after: Duration,
    },
    /// An endpoint gets no more work.
    EndpointDropped {
        /// The endpoint.
        endpoint: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The state says that this snapshot is the base now.
    Advanced {
        /// It.
        snapshot: Uuid,
    },
    /// A snapshot that is not needed any more was deleted.
    SnapshotDropped {
        /// It.
        snapshot: Uuid,
    },
}

/// Who is told what a run has come to. Called from threads of the run: return soon.
///
/// ```
/// use coriolis_ovm_exporter::client::replicate::{Event, Progress};
///
/// let _: Box<dyn Progress> = Box::new(|event: &Event<'_>| eprintln!("{event:?}"));
/// ```
pub trait Progress: Send + Sync {
    /// It has come to this.
    fn on(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Progress for F {
    fn on(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Nobody is told.
pub(super) struct Silence;

impl Progress for Silence {
    fn on(&self, _: &Event<'_>) {}
}
