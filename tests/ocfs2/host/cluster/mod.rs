//! Two nodes of an o2cb cluster on one shared disk: two machines, each with its own daemon and
//! index.

pub mod frozen;
pub mod killed;
mod lock_held;
mod mourning;
pub mod races;
pub mod views;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::protocol::{Snapshot, SnapshotDisk};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::Lab;
use super::image::FileSystem;
use super::node::{Node, PATIENCE, Site};
use crate::orders::Order;
use crate::scenario::Scenario;

const MIB: u64 = 1 << 20;

/// How often a scenario in which a node dies is begun in all where a kernel breaks down. When a node dies just while
/// another one asks it for a lock, the survivor's lock manager may stop at a check of its own
/// (`fs/ocfs2/dlmglue.c`, "AST fired with invalid action", 6.1): about one death in twenty. Nothing
/// is shown by that of a daemon whose file system is gone.
pub const ATTEMPTS: u32 = 4;
/// How long a daemon of these nodes waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// So that what a dead node leaves is not waited for longer than its eviction.
const CONFIG: &str = "[snapshots]\nlock_timeout = \"3s\"\nrecover_interval = \"2s\"\n";
/// A node is evicted 8 s after its last heartbeat, plus what the lock manager takes.
const EVICTION: Duration = Duration::from_secs(90);

/// The nodes, and a client of each.
pub struct Pool<'s> {
    pub runtime: Runtime,
    pub sites: &'s [Site<'s>; 2],
    pub nodes: [Node<'s>; 2],
    pub clients: [Client; 2],
    pub operations: u64,
}

/// Makes the disk, boots both machines, has `work` done, shuts both down, and has the disk checked.
fn with_pool(
    lab: &Lab,
    scenario: &Scenario,
    work: impl FnOnce(&Lab, &mut Pool<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    let sites = Site::pair(lab, scenario, &disks, CONFIG)?;
    let mut pool = Pool::boot(&sites)?;
    work(lab, &mut pool)?;
    println!("  {} operations", pool.operations);
    for node in &mut pool.nodes {
        let left = node.shelf()?;
        ensure!(left.is_empty(), "{}: left: {left:?}", node.site.name());
        let log = node.log()?;
        ensure!(
            !log.contains("status=500"),
            "{}: answered 500:\n{log}",
            node.site.name()
        );
    }
    for node in pool.nodes {
        node.end()?;
    }
    disks.iter().try_for_each(FileSystem::check)
}

impl<'s> Pool<'s> {
    fn boot(sites: &'s [Site<'s>; 2]) -> anyhow::Result<Pool<'s>> {
        let begun = Instant::now();
        let mut nodes = [sites[0].boot()?, sites[1].boot()?];
        for node in &mut nodes {
            let (kernel, file_system) = node.wait_until_up()?;
            println!(
                "  {}: {file_system} by Linux {kernel}, in an o2cb cluster of {} nodes, serves after \
                 {:.1} s",
                node.site.name(),
                sites.len(),
                begun.elapsed().as_secs_f64()
            );
            ensure!(file_system == "ocfs2", "mounted is {file_system}");
        }
        let runtime = Runtime::new()?;
        let clients = [
            runtime.block_on(nodes[0].client())?,
            runtime.block_on(nodes[1].client())?,
        ];
        Ok(Pool {
            runtime,
            sites,
            nodes,
            clients,
            operations: 0,
        })
    }

    /// Takes a node's power away, or finds it gone, and starts it again.
    fn start_again(&mut self, at: usize) -> anyhow::Result<()> {
        self.nodes[at].machine.kill();
        self.nodes[at] = self.sites[at].boot()?;
        self.nodes[at].wait_until_up()?;
        self.clients[at] = self.runtime.block_on(self.nodes[at].client())?;
        Ok(())
    }

    /// Waits for a request, which counts.
    fn run<T>(&mut self, request: impl Future<Output = T>) -> anyhow::Result<T> {
        self.operations += 1;
        let done = async { tokio::time::timeout(PATIENCE, request).await };
        self.runtime
            .block_on(done)
            .with_context(|| format!("no answer in {} s", PATIENCE.as_secs()))
    }

    fn create(&mut self, at: usize, vm: &str) -> anyhow::Result<Snapshot> {
        let client = self.clients[at].clone();
        Ok(self.run(client.create_snapshot(vm))??)
    }

    fn delete(&mut self, at: usize, vm: &str, id: Uuid) -> anyhow::Result<()> {
        let client = self.clients[at].clone();
        Ok(self.run(client.delete_snapshot(vm, id))??)
    }

    /// The ids of a machine's snapshots, as a node lists them.
    fn listed(&mut self, at: usize, vm: &str) -> anyhow::Result<BTreeSet<Uuid>> {
        let client = self.clients[at].clone();
        self.run(listed(&client, vm))?
    }

    /// Both nodes must list exactly these.
    fn must_list(&mut self, vm: &str, expected: &BTreeSet<Uuid>) -> anyhow::Result<()> {
        let [one, other] = self.clients.clone();
        // Two requests, of which one is counted below.
        self.operations += 1;
        let (one, other) =
            self.run(async { tokio::join!(listed(&one, vm), listed(&other, vm)) })?;
        self.compare(0, &one?, expected)?;
        self.compare(1, &other?, expected)
    }

    fn must_list_on(
        &mut self,
        at: usize,
        vm: &str,
        expected: &BTreeSet<Uuid>,
    ) -> anyhow::Result<()> {
        let listed = self.listed(at, vm)?;
        self.compare(at, &listed, expected)
    }

    fn compare(
        &self,
        at: usize,
        listed: &BTreeSet<Uuid>,
        expected: &BTreeSet<Uuid>,
    ) -> anyhow::Result<()> {
        ensure!(
            listed == expected,
            "{} lists {listed:#?}, there should be {expected:#?}",
            self.sites[at].name()
        );
        Ok(())
    }

    /// A machine with random disks, made through the first node.
    fn make_machine(
        &mut self,
        seed: u64,
        number: u32,
        sizes: &[u64],
    ) -> anyhow::Result<(String, Vec<PathBuf>)> {
        let (id, disks) = self.nodes[0].make_machine(number, 0, sizes)?;
        for (disk, size) in disks.iter().zip(sizes) {
            self.nodes[0].tell(&Order::Scribble {
                disk: disk.clone(),
                seed: seed.wrapping_add(u64::from(number)),
                offset: 0,
                length: *size,
            })?;
        }
        Ok((id, disks))
    }

    /// A snapshot's disk as a node sends it.
    fn read(
        &mut self,
        at: usize,
        snapshot: &Snapshot,
        disk: &SnapshotDisk,
    ) -> anyhow::Result<Vec<u8>> {
        let client = self.clients[at].clone();
        self.run(read(&client, snapshot, disk, 0, disk.size))?
    }

    /// SHA-256 of that.
    fn digest(
        &mut self,
        at: usize,
        snapshot: &Snapshot,
        disk: &SnapshotDisk,
    ) -> anyhow::Result<String> {
        Ok(sha256(&self.read(at, snapshot, disk)?))
    }

    /// Makes a replica of an older snapshot's disk one of this snapshot's, by the chunks that `disk`
    /// names; their bytes come from node `at`.
    fn bring_forward(
        &mut self,
        at: usize,
        snapshot: &Snapshot,
        disk: &SnapshotDisk,
        replica: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        // What a volume holds behind the disk's former end is anybody's guess.
        replica.resize(usize::try_from(disk.size)?, 0xEE);
        let client = self.clients[at].clone();
        for chunk in &disk.chunks {
            let start = usize::try_from(chunk.start)?;
            let place = &mut replica[start..start + usize::try_from(chunk.length)?];
            if chunk.zero {
                place.fill(0);
            } else {
                let bytes = read(&client, snapshot, disk, chunk.start, chunk.length);
                place.copy_from_slice(&self.run(bytes)??);
            }
        }
        Ok(())
    }
}

async fn listed(client: &Client, vm: &str) -> anyhow::Result<BTreeSet<Uuid>> {
    Ok(client.vm(vm).await?.snapshots.into_iter().collect())
}

async fn read(
    client: &Client,
    snapshot: &Snapshot,
    disk: &SnapshotDisk,
    start: u64,
    length: u64,
) -> anyhow::Result<Vec<u8>> {
    let mut body = client
        .read(&snapshot.vm_id, snapshot.id, &disk.name, start, length)
        .await?;
    let mut bytes = Vec::new();
    while let Some(more) = body.chunk().await? {
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

/// As `sha256sum` prints it.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The status of an answer that has to be a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> anyhow::Result<u16> {
    match result {
        Err(ClientError::Refused { status, .. }) => Ok(status.as_u16()),
        other => bail!("a refusal was expected: {other:?}"),
    }
}
