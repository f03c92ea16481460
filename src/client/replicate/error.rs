use std::io;

use uuid::Uuid;

use crate::client::ClientError;
use crate::client::target::coriolis::is_of_abandoned;

/// Why a run has not come to its end. The state says what the last one to succeed has left, and
/// what the next one has to do: run again with it once the cause is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicateError {
    /// A call that is needed was refused, or failed for too long.
    #[error("{endpoint}: cannot {what}: {source}")]
    Call {
        /// The endpoint, as the caller named it.
        endpoint: String,
        /// What was wanted.
        what: String,
        /// Why not.
        source: Box<ClientError>,
    },
    /// A disk cannot be copied from any endpoint.
    #[error("{disk}: cannot copy it any further from {endpoint}, after offset {offset}: {source}")]
    Copy {
        /// The disk.
        disk: String,
        /// The endpoint that was tried last.
        endpoint: String,
        /// Everything of the segment before this was written.
        offset: u64,
        /// Why not.
        source: Box<ClientError>,
    },
    /// An endpoint sent what it must not. What it sent before may be wrong too: the next run
    /// compares the disk by digests, or copies it in full.
    #[error(
        "{disk}: {endpoint} sent something invalid after offset {offset}: {what}; look for the \
         cause before the next run, which will not trust this disk"
    )]
    Invalid {
        /// The disk.
        disk: String,
        /// Who sent it.
        endpoint: String,
        /// Everything of the segment before this was written.
        offset: u64,
        /// Frame and offset, and what is wrong with it.
        what: String,
    },
    /// The caller named no place for a disk.
    #[error("{disk}: no target was named for this disk; name one, or leave the disk out")]
    NoTarget {
        /// The disk.
        disk: String,
    },
    /// A target holds something that is not this replica's.
    #[error(
        "{disk}: {target} holds something already, or may, and this replica has never written to it; \
         name another target, or allow it to be overwritten (--overwrite)"
    )]
    Occupied {
        /// The disk.
        disk: String,
        /// What the target is called.
        target: String,
    },
    /// Nothing shows that a target which cannot be read from here is still the one that was written to:
    /// an increment would make another one wrong. Nothing was written.
    #[error(
        "{disk}: {reason}. Name the volume that this replica was written to, or allow this one to be \
         overwritten with a copy of everything (--overwrite)"
    )]
    Unproven {
        /// The disk.
        disk: String,
        /// What the target is called.
        target: String,
        /// What was found, with the target's name.
        reason: String,
    },
    /// A target is the file of a disk itself, or one that is needed for the run.
    #[error("{disk}: {target} is {what}; name another target")]
    Forbidden {
        /// The disk.
        disk: String,
        /// What the target is called.
        target: String,
        /// What it is.
        what: String,
    },
    /// A target cannot be opened, written, read or flushed.
    #[error("{disk}: {source}")]
    Target {
        /// The disk.
        disk: String,
        /// What the target is called.
        target: String,
        /// Where on it, if it is one place.
        offset: Option<u64>,
        /// What it says: which target, where, what to do.
        source: io::Error,
    },
    /// The replica is not the snapshot. The next run compares the disk by digests, or copies it in
    /// full where its target cannot be read.
    #[error(
        "{disk}: {target} does not hold what snapshot {snapshot} has: {differing} blocks of \
         {block} bytes differ, the first at {first}; the state was not advanced, and the next run \
         fetches what differs, or all of it where the target cannot be read. If that happens again, the target does not keep what is written"
    )]
    Mismatch {
        /// The disk.
        disk: String,
        /// What the target is called.
        target: String,
        /// The snapshot.
        snapshot: Uuid,
        /// So many blocks.
        differing: usize,
        /// Of so many bytes.
        block: u64,
        /// Where the first one begins.
        first: u64,
    },
    /// The state is of something else, or cannot be kept.
    #[error("the state of the replica: {0}")]
    State(#[source] io::Error),
    /// The state belongs to another machine.
    #[error("{store} is the state of machine {found}, not of {wanted}; name the right one")]
    OtherMachine {
        /// Where it is kept.
        store: String,
        /// What it says.
        found: String,
        /// What the run is for.
        wanted: String,
    },
    /// The run was put together wrongly.
    #[error("{0}")]
    Setup(String),
    /// See [`Cancellation`](super::Cancellation).
    #[error("cancelled; the next run goes on from here")]
    Cancelled,
}

impl ReplicateError {
    /// A target that has refused because the run was ended is not why it has.
    pub(super) fn or_cancelled(self) -> ReplicateError {
        match self {
            ReplicateError::Target { source, .. } if is_of_abandoned(&source) => {
                ReplicateError::Cancelled
            }
            error => error,
        }
    }

    /// What a node has answered, or why it did not, where that is the cause.
    #[must_use]
    pub fn client_error(&self) -> Option<&ClientError> {
        match self {
            ReplicateError::Call { source, .. } | ReplicateError::Copy { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }

    /// Whether the same run may succeed later, without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, ReplicateError::Cancelled)
            || self.client_error().is_some_and(ClientError::is_transient)
    }
}
