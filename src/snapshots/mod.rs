//! Life of a snapshot: create, seal, compare, read, delete, recover.
//!
//! All of it blocks: callers run it where blocking is allowed. Nothing outside this room makes or
//! removes files, and this room does so only below `<repository>/CoriolisSnapshots/`.

mod adopt;
mod buffers;
mod catalog;
mod change;
pub mod clusters;
mod compare;
mod content;
mod create;
mod delete;
mod delta;
mod digests;
mod error;
mod exclusive;
mod expire;
pub mod faults;
mod fetch;
pub mod former;
mod index;
mod locks;
pub mod manifest;
mod map_turns;
mod moment;
mod naming;
mod probe;
mod recover;
mod seal;
mod shelf;
mod snapshot;
mod stall;
pub mod stillness;
mod subject;
mod survey;
mod tending;
mod turn;
mod unreadable;
mod walk;
mod wish;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use crate::protocol::Refine;
pub use adopt::{Orphans, Removed, UnmatchedFolder};
pub use buffers::{Allowance, Buffer, BufferPool, PoolFigures, Share};
pub use compare::{Comparison, DiskComparison, Method, OnBaseLost, Question};
pub use create::{Subject, SubjectDisk};
pub use delta::{Delta, Format};
pub use digests::digests;
pub use error::SnapshotError;
pub use naming::disk_names;
pub use probe::{Ability, try_a_clone};
pub use recover::{Plot, Recovered};
pub use snapshot::{Snapshot, Standing};
pub use stall::Stalls;
pub use subject::{DiskVerdict, Need, Obstacle};
pub use survey::Survey;
pub use tending::{Piece, Tending, UnderWay};
pub use turn::Turn;
pub use unreadable::UnreadableSnapshot;
pub use walk::{Stretch, Walk};
pub use wish::{Change, Wish};

use crate::config::{self, Current};
use crate::guard::Guards;
use crate::ovm::domains::Toolstack;
use crate::ovm::repository::{Repository, RepositorySource};
use crate::ovm::warning_log::WarningLog;
use adopt::Adoption;
use catalog::Catalog;
use faults::Faults;
use locks::VmLocks;
use map_turns::MapTurns;
use probe::CloneProbe;

/// The snapshots of this node.
#[derive(Debug)]
pub struct Snapshots {
    repositories: Arc<dyn RepositorySource>,
    catalog: Catalog,
    probe: CloneProbe,
    locks: VmLocks,
    map_turns: MapTurns,
    buffers: BufferPool,
    warning_log: WarningLog,
    settings: Current<config::Snapshots>,
    node: String,
    guards: Guards,
    toolstack: Option<Toolstack>,
    faults: Faults,
    adoption: Adoption,
    tending: Arc<Tending>,
}

impl Snapshots {
    /// Opens this node's index at `db_file`. `node` is the host's name, noted in manifests.
    ///
    /// # Errors
    /// As [`SnapshotError`] says of the catalog.
    pub fn open(
        db_file: &Path,
        repositories: Arc<dyn RepositorySource>,
        settings: config::Snapshots,
        node: String,
    ) -> Result<Snapshots, SnapshotError> {
        Ok(Snapshots {
            repositories,
            catalog: Catalog::open(db_file)?,
            probe: CloneProbe::default(),
            locks: VmLocks::default(),
            map_turns: MapTurns::default(),
            buffers: BufferPool::default(),
            warning_log: WarningLog::default(),
            settings: Current::new(settings),
            node,
            guards: Guards::new(db_file),
            toolstack: None,
            faults: Faults::default(),
            adoption: Adoption::beside(db_file),
            tending: Arc::default(),
        })
    }

    /// With the toolstack that pauses machines; without one, none is paused.
    #[must_use]
    pub fn with_toolstack(mut self, toolstack: Toolstack) -> Snapshots {
        self.toolstack = Some(toolstack);
        self
    }

    /// The same, killed where a test says.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Snapshots {
        Snapshots { faults, ..self }
    }

    /// From now on these settings hold; what has begun may see some of either.
    pub fn take_up(&self, settings: config::Snapshots) {
        self.settings.set(settings);
    }

    /// How often to look for leftovers.
    #[must_use]
    pub fn recover_interval(&self) -> Duration {
        self.settings.get().recover_interval
    }

    /// Which pieces of recovery are under way.
    #[must_use]
    pub fn tending(&self) -> &Arc<Tending> {
        &self.tending
    }

    /// What disks are read to.
    #[must_use]
    pub fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// How long storage may keep a step of an operation waiting.
    #[must_use]
    pub fn storage_timeout(&self) -> Duration {
        self.settings.get().storage_timeout
    }

    /// A wait for an operation's turn, as long as the configuration allows.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn::within(self.settings.get().lock_timeout)
    }

    /// Whether clones can be made on a repository.
    #[must_use]
    pub fn ability(&self, repository: &Repository) -> Ability {
        self.probe.ability(repository, &self.faults)
    }
}
