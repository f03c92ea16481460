use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::options::Options;
use super::progress::{Progress, Silence};
use super::{Cancellation, Outcome, ReplicateError, StateStore, run};
use crate::client::Client;
use crate::client::target::{self, Target, TargetOptions};
use crate::protocol::delta::Compression;
use crate::protocol::{Consistency, Refine, SnapshotDisk};

/// Opens the target of a disk; None where there is none for it.
pub(super) type Opener = dyn Fn(&SnapshotDisk) -> io::Result<Option<Arc<dyn Target>>> + Send + Sync;

/// A run, put together: see the [module](super).
///
/// Needed are an endpoint ([`Replication::from`]), a state ([`Replication::state`]) and a target for
/// each disk ([`Replication::to_files`], [`Replication::target`], [`Replication::targets`]).
#[must_use = "nothing happens before `run`"]
pub struct Replication {
    pub(super) vm: String,
    pub(super) clients: Vec<Client>,
    pub(super) store: Option<Arc<dyn StateStore>>,
    pub(super) named: BTreeMap<String, Arc<dyn Target>>,
    pub(super) opener: Option<Arc<Opener>>,
    pub(super) options: Options,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) cancellation: Cancellation,
}

impl std::fmt::Debug for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replication")
            .field("vm", &self.vm)
            .field("clients", &self.clients)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Replication {
    /// Disks, or streams, at the same time: more gain nothing, and take memory and connections.
    pub const MOST_AT_A_TIME: usize = 64;

    /// Of a machine: its id, or `name` or `uuid` of its vm.cfg. The state keeps its id, whichever was
    /// given.
    pub fn of(vm: impl Into<String>) -> Replication {
        Replication {
            vm: vm.into(),
            clients: Vec::new(),
            store: None,
            named: BTreeMap::new(),
            opener: None,
            options: Options::default(),
            progress: Arc::new(Silence),
            cancellation: Cancellation::new(),
        }
    }

    /// From a node. Named again, for nodes that share the repositories: they share the work, and
    /// stand in for each other. The first is asked for the snapshot.
    pub fn from(mut self, client: Client) -> Replication {
        self.clients.push(client);
        self
    }

    /// With what is known from the run before.
    pub fn state(mut self, store: impl StateStore + 'static) -> Replication {
        self.store = Some(Arc::new(store));
        self
    }

    /// To files, or devices, in this directory: each of a disk's name.
    pub fn to_files(self, directory: impl Into<PathBuf>) -> Replication {
        let directory = directory.into();
        self.targets(move |disk| {
            let path = directory.join(target::file_name(&disk.name)?);
            target::open(&target::settled(&path)?, &TargetOptions::default()).map(Some)
        })
    }

    /// This disk to this target.
    pub fn target(mut self, disk: impl Into<String>, target: Arc<dyn Target>) -> Replication {
        self.named.insert(disk.into(), target);
        self
    }

    /// Every disk that is not named by [`Replication::target`] to what this opens for it; None ends
    /// the run, before anything is written.
    pub fn targets(
        mut self,
        open: impl Fn(&SnapshotDisk) -> io::Result<Option<Arc<dyn Target>>> + Send + Sync + 'static,
    ) -> Replication {
        self.opener = Some(Arc::new(open));
        self
    }

    /// These disks alone. All that must be copied, unless named.
    pub fn disks<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Replication {
        self.options.disks = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What the snapshots are called.
    pub fn label(mut self, label: impl Into<String>) -> Replication {
        self.options.label = Some(label.into());
        self
    }

    /// How long the daemon keeps the snapshots, so that those of a replica that was given up go by
    /// themselves. It has to be longer than a run, and than the time between two.
    pub fn expires_in(mut self, term: Duration) -> Replication {
        self.options.expires_in = Some(term);
        self
    }

    /// Whether all disks are to be of one moment. What the daemon's configuration says, unless
    /// named.
    pub fn consistency(mut self, consistency: Consistency) -> Replication {
        self.options.consistency = Some(consistency);
        self
    }

    /// Whether the daemon looks at bytes to find what changed.
    pub fn refine(mut self, refine: Refine) -> Replication {
        self.options.refine = refine;
        self
    }

    /// How the bytes travel: for links that are slower than a processor packs.
    pub fn compression(mut self, compression: Compression) -> Replication {
        self.options.compression = compression;
        self
    }

    /// Reads every target back and compares it with the snapshot, before the state is advanced.
    /// Takes as long as reading both.
    pub fn verified(mut self) -> Replication {
        self.options.verify = true;
        self
    }

    /// Targets that hold something already, and to which this replica has never written, are
    /// overwritten. Else they are refused.
    pub fn overwrite(mut self) -> Replication {
        self.options.overwrite = true;
        self
    }

    /// After a run that was interrupted is finished: false ends there, with the replica of that
    /// run's snapshot. Else a fresh snapshot follows.
    pub fn catch_up(mut self, catch_up: bool) -> Replication {
        self.options.catch_up = catch_up;
        self
    }

    /// So many disks at the same time, 1 to 64; 4 unless named.
    pub fn parallel_disks(mut self, disks: usize) -> Replication {
        self.options.parallel_disks = disks.clamp(1, Self::MOST_AT_A_TIME);
        self
    }

    /// So many streams at the same time from each endpoint, 1 to 64; 2 unless named.
    pub fn streams(mut self, streams: usize) -> Replication {
        self.options.streams = streams.clamp(1, Self::MOST_AT_A_TIME);
        self
    }

    /// A disk is cut into segments of no fewer bytes, to be shared by streams; 256 MiB unless named.
    pub fn least_segment(mut self, bytes: u64) -> Replication {
        self.options.least_segment = bytes.max(1 << 20);
        self
    }

    /// So many bytes a second at most come from all nodes together, for links that others need too. Not
    /// counted is what is no disk's content, such as digests. At least
    /// [`LEAST_RATE`](super::LEAST_RATE), or the run does not begin.
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Replication {
        self.options.rate = Some(bytes_per_second);
        self
    }

    /// How long an endpoint is asked again without anything coming from it, before it is given up;
    /// five minutes unless named.
    pub fn patience(mut self, patience: Duration) -> Replication {
        self.options.patience = patience;
        self
    }

    /// Who is told how far it has come.
    pub fn progress(mut self, progress: impl Progress + 'static) -> Replication {
        self.progress = Arc::new(progress);
        self
    }

    /// What ends the run early.
    pub fn cancelled_by(mut self, cancellation: &Cancellation) -> Replication {
        self.cancellation = cancellation.clone();
        self
    }

    /// Runs. To end it early use [`Replication::cancelled_by`]: where this future is dropped
    /// instead, a write that has begun still ends, on its own thread, and the state and its targets
    /// stay locked until then.
    ///
    /// # Errors
    /// [`ReplicateError`]; the state says how to go on.
    pub async fn run(self) -> Result<Outcome, ReplicateError> {
        run::run(self).await
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_run_may_go_from_thread_to_thread() {
        fn is_send<T: Send>(_: T) {}
        is_send(super::Replication::of("vm").run());
    }

    #[test]
    fn there_are_neither_none_nor_too_many_at_a_time() {
        for (given, taken) in [(0, 1), (3, 3), (usize::MAX, 64)] {
            let run = super::Replication::of("vm");
            let options = run.parallel_disks(given).streams(given).options;
            assert_eq!((options.parallel_disks, options.streams), (taken, taken));
            tokio::sync::Semaphore::new(options.parallel_disks);
        }
    }
}
