//! The same for programs without an asynchronous runtime.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use coriolis_ovm_exporter::client::replicate::StateFile;
//! use coriolis_ovm_exporter::client::{Trust, blocking};
//!
//! let trust = Trust::Authority(std::fs::read("ca-pub.pem")?);
//! let client = blocking::Client::login("https://ovs1.example:5544", "admin", "secret", &trust)?;
//! let outcome = client.run(
//!     client
//!         .replication("0004fb0000060000ccaf98a0baa2c186")
//!         .state(StateFile::open("/var/lib/replicas/web.json")?)
//!         .to_files("/replicas/web"),
//! )?;
//! println!("{outcome}");
//! # Ok(())
//! # }
//! ```
//!
//! None of this may be called, or dropped, inside of an asynchronous runtime: it would panic.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::replicate::{self, Outcome, ReplicateError, Replication, Verification};
use super::target::Target;
use super::{ClientError, Comparison, DiskOf, Trust};
use crate::protocol::delta::{Compression, Item, StreamHeader, Totals};
use crate::protocol::digest::Algorithm;
use crate::protocol::{
    DiskDigests, Node, RangePage, Snapshot, SnapshotChange, SnapshotEntry, SnapshotRequest, Vm,
    VmReport,
};

/// Threads that speak to nodes; targets have others.
const THREADS: usize = 2;

/// A client that has logged in, and the threads that do its work. Clones share both.
#[derive(Debug, Clone)]
pub struct Client {
    inner: super::Client,
    runtime: Arc<Runtime>,
}

impl Client {
    /// See [`super::Client::login`].
    ///
    /// # Errors
    /// As there; [`ClientError::Io`] where no thread can be started.
    pub fn login(
        endpoint: &str,
        username: &str,
        password: &str,
        trust: &Trust,
    ) -> Result<Client, ClientError> {
        let runtime = runtime()?;
        let login = super::Client::login(endpoint, username, password, trust);
        Ok(Client {
            inner: runtime.block_on(login)?,
            runtime,
        })
    }

    /// See [`super::Client::with_token`].
    ///
    /// # Errors
    /// As there; [`ClientError::Io`] where no thread can be started.
    pub fn with_token(endpoint: &str, token: &str, trust: &Trust) -> Result<Client, ClientError> {
        Ok(Client {
            inner: super::Client::with_token(endpoint, token, trust)?,
            runtime: runtime()?,
        })
    }

    /// The same client for asynchronous use, as long as this one, or a clone of it, lives.
    #[must_use]
    pub fn inner(&self) -> &super::Client {
        &self.inner
    }

    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// See [`super::Client::node`].
    ///
    /// # Errors
    /// As there.
    pub fn node(&self) -> Result<Node, ClientError> {
        self.wait(self.inner.node())
    }

    /// See [`super::Client::vms`].
    ///
    /// # Errors
    /// As there.
    pub fn vms(&self) -> Result<Vec<Vm>, ClientError> {
        self.wait(self.inner.vms())
    }

    /// See [`super::Client::vm`].
    ///
    /// # Errors
    /// As there.
    pub fn vm(&self, vm: &str) -> Result<Vm, ClientError> {
        self.wait(self.inner.vm(vm))
    }

    /// See [`super::Client::report`].
    ///
    /// # Errors
    /// As there.
    pub fn report(&self, vm: &str, snapshot: Option<Uuid>) -> Result<VmReport, ClientError> {
        self.wait(self.inner.report(vm, snapshot))
    }

    /// See [`super::Client::all_snapshots`].
    ///
    /// # Errors
    /// As there.
    pub fn all_snapshots(&self, space: bool) -> Result<Vec<SnapshotEntry>, ClientError> {
        self.wait(self.inner.all_snapshots(space))
    }

    /// See [`super::Client::create_snapshot_with`].
    ///
    /// # Errors
    /// As there.
    pub fn create_snapshot(
        &self,
        vm: &str,
        wish: &SnapshotRequest,
    ) -> Result<Snapshot, ClientError> {
        self.wait(self.inner.create_snapshot_with(vm, wish))
    }

    /// See [`super::Client::snapshots`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshots(&self, vm: &str) -> Result<Vec<Snapshot>, ClientError> {
        self.wait(self.inner.snapshots(vm))
    }

    /// See [`super::Client::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(
        &self,
        vm: &str,
        snapshot: Uuid,
        base: Option<Uuid>,
    ) -> Result<Snapshot, ClientError> {
        self.wait(self.inner.snapshot(vm, snapshot, base))
    }

    /// See [`super::Client::change_snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn change_snapshot(
        &self,
        vm: &str,
        snapshot: Uuid,
        change: &SnapshotChange,
    ) -> Result<Snapshot, ClientError> {
        self.wait(self.inner.change_snapshot(vm, snapshot, change))
    }

    /// See [`super::Client::delete_snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_snapshot(&self, vm: &str, snapshot: Uuid) -> Result<(), ClientError> {
        self.wait(self.inner.delete_snapshot(vm, snapshot))
    }

    /// See [`super::Client::delete_all_snapshots`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_all_snapshots(&self, vm: &str) -> Result<(), ClientError> {
        self.wait(self.inner.delete_all_snapshots(vm))
    }

    /// Bytes of a snapshot's disk. All of them are in memory; for more than some megabytes use
    /// [`Client::delta`].
    ///
    /// # Errors
    /// As [`super::Client::read`].
    pub fn read(&self, disk: &DiskOf<'_>, offset: u64, length: u64) -> Result<Bytes, ClientError> {
        self.wait(async {
            let (vm, snapshot, name) = (disk.vm, disk.snapshot, disk.disk);
            let response = self.inner.read(vm, snapshot, name, offset, length).await?;
            Ok(response.bytes().await?)
        })
    }

    /// See [`super::Client::ranges`].
    ///
    /// # Errors
    /// As there.
    pub fn ranges(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
        from: u64,
        limit: Option<usize>,
    ) -> Result<RangePage, ClientError> {
        self.wait(self.inner.ranges(disk, comparison, from, limit))
    }

    /// See [`super::Client::delta_between`].
    ///
    /// # Errors
    /// As there.
    pub fn delta(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
        from: u64,
        to: Option<u64>,
        compression: Compression,
    ) -> Result<DeltaStream, ClientError> {
        let stream = self
            .inner
            .delta_between(disk, comparison, from, to, compression);
        Ok(DeltaStream {
            inner: self.wait(stream)?,
            runtime: Arc::clone(&self.runtime),
            failed: false,
        })
    }

    /// See [`super::Client::digests`].
    ///
    /// # Errors
    /// As there.
    pub fn digests(
        &self,
        disk: &DiskOf<'_>,
        algorithm: Algorithm,
        block: Option<u64>,
    ) -> Result<DiskDigests, ClientError> {
        self.wait(self.inner.digests(disk, algorithm, block))
    }

    /// A replication from this node, to be completed and [run](Client::run).
    pub fn replication(&self, vm: impl Into<String>) -> Replication {
        Replication::of(vm).from(self.inner.clone())
    }

    /// Runs a replication to its end; see [`Replication::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run(&self, replication: Replication) -> Result<Outcome, ReplicateError> {
        self.wait(replication.run())
    }

    /// See [`replicate::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(
        &self,
        vm: &str,
        snapshot: Uuid,
        targets: &[(String, Arc<dyn Target>)],
    ) -> Result<Vec<Verification>, ReplicateError> {
        self.wait(replicate::verify(&self.inner, vm, snapshot, targets))
    }
}

fn runtime() -> Result<Arc<Runtime>, ClientError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("exporter-client")
        .enable_all()
        .build()?;
    Ok(Arc::new(runtime))
}

/// A delta as it comes; its items are those of [`super::DeltaStream::next`]. Complete only when it
/// has given [`Item::End`]; it gives nothing after an error.
#[derive(Debug)]
pub struct DeltaStream {
    inner: super::DeltaStream,
    runtime: Arc<Runtime>,
    failed: bool,
}

impl DeltaStream {
    /// What it is about.
    #[must_use]
    pub fn header(&self) -> &StreamHeader {
        self.inner.header()
    }

    /// Everything of the disk before this offset has been given.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.inner.reached()
    }

    /// The totals, once the end has been given.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        self.inner.totals()
    }
}

impl Iterator for DeltaStream {
    type Item = Result<Item, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.runtime.block_on(self.inner.next()).transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
