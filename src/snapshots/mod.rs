//! Life of a snapshot: create, seal, compare, read, delete, recover.
//!
//! All of it blocks: callers run it where blocking is allowed. Nothing outside this room makes or
//! removes files, and this room does so only below `<repository>/CoriolisSnapshots/`.

mod catalog;
mod compare;
mod content;
mod create;
mod delete;
mod error;
mod index;
mod locks;
pub mod manifest;
mod naming;
mod probe;
mod recover;
mod seal;
mod shelf;
mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use compare::{Comparison, DiskComparison, Method, Refine};
pub use create::{Subject, SubjectDisk};
pub use error::SnapshotError;
pub use naming::disk_names;
pub use probe::Ability;
pub use recover::Recovered;
pub use snapshot::{Snapshot, Standing};

use crate::ovm::repository::Repository;
use catalog::Catalog;
use locks::VmLocks;
use probe::CloneProbe;

/// Where the list of repositories comes from.
pub trait RepositorySource: Send + Sync + std::fmt::Debug {
    /// All repositories of this node, mounted or not.
    fn repositories(&self) -> Vec<Repository>;
}

/// Free space that is kept for the guests: a snapshot makes their next writes allocate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinFree {
    /// The smaller of 5 % and 20 GiB.
    Default,
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the file system's size.
    Percent(u8),
}

impl MinFree {
    /// Bytes to keep free on a file system of `total` bytes.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            MinFree::Default => (total / 20).min(20 << 30),
            MinFree::Bytes(bytes) => bytes,
            MinFree::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

/// What the configuration says about snapshots.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Free space below which no snapshot is taken.
    pub min_free: MinFree,
    /// Whether snapshots get the immutable flag.
    pub immutable: bool,
    /// How long a change waits for another change of the same snapshots.
    pub lock_timeout: Duration,
}

/// The snapshots of this node.
#[derive(Debug)]
pub struct Snapshots {
    repositories: Arc<dyn RepositorySource>,
    catalog: Catalog,
    probe: CloneProbe,
    locks: VmLocks,
    settings: Settings,
    node: String,
}

impl Snapshots {
    /// Opens this node's index at `db_file`. `node` is the host's name, noted in manifests.
    ///
    /// # Errors
    /// As [`SnapshotError`] says of the catalog.
    pub fn open(
        db_file: &Path,
        repositories: Arc<dyn RepositorySource>,
        settings: Settings,
        node: String,
    ) -> Result<Snapshots, SnapshotError> {
        Ok(Snapshots {
            repositories,
            catalog: Catalog::open(db_file)?,
            probe: CloneProbe::default(),
            locks: VmLocks::default(),
            settings,
            node,
        })
    }

    /// Whether clones can be made on a repository.
    #[must_use]
    pub fn ability(&self, repository: &Repository) -> Ability {
        self.probe.ability(repository)
    }
}
