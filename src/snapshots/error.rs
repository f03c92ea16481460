//! What can go wrong with a snapshot. Knows nothing of HTTP.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

/// Why an operation on a snapshot failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No repository that is mounted here holds it.
    #[error("there is no snapshot {id} of VM {vm_id} on this node's mounted repositories")]
    Unknown {
        /// The VM asked for.
        vm_id: String,
        /// The snapshot asked for, as the client wrote it.
        id: String,
    },
    /// The base of a comparison is gone.
    #[error(
        "the base snapshot {id} is gone; copy the disks in full and use the new snapshot as base from then on"
    )]
    BaseGone {
        /// The base, as the client wrote it.
        id: String,
    },
    /// It belongs to another VM.
    #[error("snapshot {id} belongs to VM {owner}, not to VM {vm_id}")]
    OtherVm {
        /// The snapshot.
        id: Uuid,
        /// Whose it is.
        owner: String,
        /// Who was asked for.
        vm_id: String,
    },
    /// The base must be older than what is compared to it.
    #[error(
        "snapshot {base} is not older than {id}: compareTo takes an earlier snapshot of the same VM"
    )]
    BaseNotOlder {
        /// The snapshot.
        id: Uuid,
        /// The base.
        base: Uuid,
    },
    /// A sealed file is no longer what was sealed.
    #[error(
        "disk {disk} of snapshot {id} is no longer the file that was sealed ({reason}); it cannot be trusted: delete the snapshot and copy the disk in full"
    )]
    Changed {
        /// The snapshot.
        id: Uuid,
        /// The disk.
        disk: String,
        /// What differs.
        reason: String,
    },
    /// A part of it is gone.
    #[error("snapshot {id} is not whole any more: {reason}; delete it and copy the disks in full")]
    Broken {
        /// The snapshot.
        id: Uuid,
        /// Which part.
        reason: String,
    },
    /// It is there, and cannot be used now.
    #[error("snapshot {id} cannot be used now: {reason}")]
    Unavailable {
        /// The snapshot.
        id: Uuid,
        /// Why, and what would help.
        reason: String,
    },
    /// A directory has its name, and no manifest that can be read.
    #[error("{} has no manifest that this version can read, so it is left alone; GET /api/v1/node says why", directory.display())]
    Unreadable {
        /// The snapshot.
        id: Uuid,
        /// Where it lies.
        directory: PathBuf,
    },
    /// All were to be deleted, and some cannot be read.
    #[error(
        "the other snapshots of VM {vm_id} are deleted, but these have no manifest that this version can read, so they are left alone: {left}. Remove their folders by hand, after `chattr -i` on the files in them"
    )]
    Left {
        /// The VM.
        vm_id: String,
        /// Which, where, and why.
        left: String,
    },
    /// It was a folder that belonged to nobody, and is a snapshot now.
    #[error(
        "{id} has got a manifest meanwhile: it is a snapshot, which is deleted through the interface"
    )]
    Adopted {
        /// The snapshot.
        id: Uuid,
    },
    /// The snapshot has no such disk.
    #[error("snapshot {id} has no disk named {disk:?}; it has {known}")]
    UnknownDisk {
        /// The snapshot.
        id: Uuid,
        /// The name asked for.
        disk: String,
        /// The names there are.
        known: String,
    },
    /// A disk that must be copied cannot be.
    #[error("VM {vm_id} cannot be snapshotted: {reason}")]
    Incompatible {
        /// The VM.
        vm_id: String,
        /// Which disk, and why.
        reason: String,
    },
    /// A disk cannot be cloned now, for a reason that may pass.
    #[error("VM {vm_id} cannot be snapshotted now: {reason}")]
    NotNow {
        /// The VM.
        vm_id: String,
        /// Which disk, and why.
        reason: String,
    },
    /// The request asks for what cannot be.
    #[error("{0}")]
    Refused(String),
    /// The key of a request stands for another one.
    #[error(
        "idempotency_key {key:?} was used for another request, which made snapshot {id}; use a new key for a new snapshot"
    )]
    KeyUsed {
        /// The key.
        key: String,
        /// The snapshot that it made.
        id: Uuid,
    },
    /// The machine has as many snapshots as it may have.
    #[error(
        "VM {vm_id} has {count} snapshots and [snapshots] max_snapshots_per_vm is {limit}; delete some that are not needed as a base any more"
    )]
    TooMany {
        /// The VM.
        vm_id: String,
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: u32,
    },
    /// A file of it cannot be removed without harm.
    #[error(
        "snapshot {id} is not deleted, since to remove {} would make the file system read-only: {reason}", path.display()
    )]
    Unremovable {
        /// The snapshot.
        id: Uuid,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Too little room would be left for the guests' writes.
    #[error(
        "repository {repository} has {available} bytes free, less than the {required} that [snapshots] min_free keeps for the guests: a snapshot makes their next writes allocate new space. Delete old snapshots or free space"
    )]
    NoSpace {
        /// Its mount point.
        repository: String,
        /// Bytes.
        available: u64,
        /// Bytes.
        required: u64,
    },
    /// It would hold the machine for longer than it may.
    #[error(
        "VM {vm_id} would be held for about {expected:.1?} while its {extents} extents are cloned, longer than [snapshots] max_pause ({max_pause:?}); nothing was done. Raise max_pause, defragment the disks, or ask for consistency \"none\""
    )]
    TooLong {
        /// The VM.
        vm_id: String,
        /// Of all disks.
        extents: u64,
        /// How long, by what earlier clones took.
        expected: Duration,
        /// How long it may be.
        max_pause: Duration,
    },
    /// Its disks are not of one moment, and that was asked for.
    #[error(
        "no snapshot of VM {vm_id} was taken, since its disks would not be of one moment: {reason}. Try again, or ask for consistency \"none\""
    )]
    NotOneMoment {
        /// The VM.
        vm_id: String,
        /// Why not.
        reason: String,
    },
    /// Somebody else has held the lock for too long.
    #[error(
        "{what} is locked by another operation, on this node or on another one of the pool; it was waited for {seconds} s. Try again"
    )]
    Busy {
        /// Of what.
        what: String,
        /// How long this waited.
        seconds: u64,
    },
    /// Nobody waits any more for an operation that has not begun.
    #[error(
        "it could not begin within {seconds} s and nothing was changed: a file system does not answer. While a node of the pool is down the others wait until it is evicted, a minute or more. Try again"
    )]
    GivenUp {
        /// How long was waited.
        seconds: u64,
    },
    /// A step of its work hangs: it undoes what it has made when it wakes.
    #[error(
        "no snapshot was taken: {what} has not ended within {seconds} s, so the storage below it does not answer. What was made is removed as soon as it does; until then this machine's snapshots are locked. Look at that storage, then try again"
    )]
    Stalled {
        /// What hangs, on which file.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Reading hangs.
    #[error(
        "{what} has not ended within {seconds} s, so the storage below it does not answer. Nothing was changed. Look at that storage, then try again"
    )]
    NotRead {
        /// What hangs, on which file.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Its last step hangs.
    #[error(
        "whether snapshot {id} was taken is not certain yet: {what} has not ended within {seconds} s, so the storage below it does not answer. Look at that storage, then at the list of snapshots"
    )]
    Unanswered {
        /// The snapshot.
        id: Uuid,
        /// What hangs, on which file.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The file system said no.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// This node's index.
    #[error("the snapshot index {}: {source}", path.display())]
    Catalog {
        /// Its file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Something else has the index's name.
    #[error("db_file {} is neither an index of this program nor a database of the first generation; it is left alone. Set db_file to another path", path.display())]
    CatalogForeign {
        /// The file.
        path: PathBuf,
    },
    /// The index cannot be kept where the configuration says.
    #[error("db_file {} lies on {file_system}, a file system that several nodes share; SQLite needs a local one. Set db_file to a local path", path.display())]
    CatalogShared {
        /// Its file.
        path: PathBuf,
        /// What it lies on.
        file_system: String,
    },
}

impl SnapshotError {
    /// The wrapper for `map_err` at a system call.
    pub fn io<'p>(
        what: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(io::Error) -> SnapshotError + use<'p> {
        move |source| SnapshotError::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}
