//! A node with the real daemon, and machines whose disks lie on a new XFS of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use coriolis_ovm_exporter::operations::demo::node::{Node, PASSWORD, USER};
use coriolis_ovm_exporter::protocol::{Snapshot, SnapshotRequest};
use nix::unistd::Pid;

use crate::bench::{Bench, command, daemon};
use crate::{loops, process};

/// A new file system with machines on it, before the daemon starts.
pub struct Ground {
    ground: demo::ground::Ground,
    machines: Vec<Machine>,
}

impl Ground {
    /// A machine with one disk of each size, sparse and empty, on a file system with room for
    /// `space` bytes. Until the daemon starts it is as fast as memory: there is much to write.
    pub fn lay(space: u64, disks: &[u64]) -> anyhow::Result<Ground> {
        // XFS refuses to be smaller than 300 MiB, and keeps some for itself.
        let ground = demo::ground::Ground::xfs(space + space / 8 + (512 << 20))?;
        let machines: Vec<Machine> = (1..)
            .zip(disks)
            .map(|(at, size)| {
                let name = format!("machine {at}");
                Machine::create(&ground.repository(), at, &name, &[*size])
            })
            .collect::<Result<_, _>>()?;
        Ok(Ground { ground, machines })
    }

    pub fn machine(&self, at: usize) -> &Machine {
        &self.machines[at]
    }

    /// The guest's disk of a machine.
    pub fn disk(&self, at: usize) -> &Path {
        &self.machines[at].disks[0]
    }

    /// The repository.
    pub fn repository(&self) -> PathBuf {
        self.ground.repository()
    }

    /// Starts the daemon, and logs in.
    pub fn start(self, bench: &Bench) -> anyhow::Result<Stage> {
        loops::uncached(&bench.folder());
        bench.block_on(async {
            let node = Node::with_machines(self.ground, self.machines, daemon()).await?;
            let client = node.client().await?;
            Ok(Stage { node, client })
        })
    }
}

/// The node.
pub struct Stage {
    node: Node,
    pub client: Client,
}

impl Stage {
    pub fn machine(&self, at: usize) -> &Machine {
        &self.node.machines()[at]
    }

    /// The guest's disk of a machine.
    pub fn disk(&self, at: usize) -> &Path {
        &self.machine(at).disks[0]
    }

    pub fn endpoint(&self) -> String {
        self.node.endpoint()
    }

    /// The repository.
    pub fn repository(&self) -> PathBuf {
        self.node.ground().repository()
    }

    /// A file of the node: `ca-pub.pem`, `srv-pub.pem`, `srv-key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.node.ground().path().join("node").join(name)
    }

    pub fn authority(&self) -> anyhow::Result<String> {
        let path = self.file("ca-pub.pem");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    pub fn daemon(&self) -> anyhow::Result<Pid> {
        process::pid(self.node.daemon_id())
    }

    /// Takes a snapshot of a machine.
    pub fn snapshot(&self, bench: &Bench, machine: usize) -> anyhow::Result<Snapshot> {
        let id = &self.machine(machine).id;
        Ok(bench.block_on(self.client.create_snapshot(id))?)
    }

    /// The same, answered without the list of its extents, as a replica's run asks for it.
    pub fn bare_snapshot(&self, bench: &Bench, machine: usize) -> anyhow::Result<Snapshot> {
        let id = &self.machine(machine).id;
        let wish = SnapshotRequest::default();
        let taken = self.client.create_snapshot_without_ranges(id, &wish);
        Ok(bench.block_on(taken)?)
    }

    /// Deletes it.
    pub fn delete(&self, bench: &Bench, snapshot: &Snapshot) -> anyhow::Result<()> {
        let deleted = self.client.delete_snapshot(&snapshot.vm_id, snapshot.id);
        Ok(bench.block_on(deleted)?)
    }

    /// Waits until what was deleted before is gone: XFS takes the extents of a deleted file apart in
    /// the background, and whoever clones meanwhile shares the log with that. Which side of a
    /// comparison that would be is chance.
    pub fn settle(&self) -> anyhow::Result<()> {
        let repository = self.repository();
        // This scan ends with a wait for the deleted files.
        let mut scan = Command::new("xfs_spaceman");
        process::finish(scan.args(["-c", "prealloc -s"]).arg(&repository))?;
        process::finish(Command::new("sync").arg("-f").arg(&repository))?;
        Ok(())
    }

    /// How long the newest snapshot of a machine held its disk, seconds.
    pub fn newest_stall(&self, bench: &Bench, machine: usize) -> anyhow::Result<f64> {
        let id = &self.machine(machine).id;
        let all = bench.block_on(self.client.all_snapshots(false))?;
        let own = all.iter().filter(|one| one.vm_id.as_deref() == Some(id));
        let newest = own.max_by_key(|one| one.created_at);
        let newest = newest.context("a machine without snapshots")?.id;
        let newest = self.client.snapshot_without_ranges(id, newest);
        let newest = bench.block_on(newest)?;
        Ok(newest.disks.iter().map(|disk| disk.stall_ms).sum::<f64>() / 1e3)
    }

    /// The command, which knows the daemon and who may log in.
    pub fn command(&self) -> Command {
        let mut ours = Command::new(command());
        ours.env("OVM_EXPORTER_ENDPOINT", self.endpoint())
            .env("OVM_EXPORTER_CAFILE", self.file("ca-pub.pem"))
            .env("OVM_EXPORTER_USERNAME", USER)
            .env("OVM_EXPORTER_PASSWORD", PASSWORD)
            .arg("-q");
        ours
    }
}

/// Where the only disk of a snapshot lies.
pub fn clone_of(snapshot: &Snapshot) -> anyhow::Result<&Path> {
    let disk = snapshot.disks.first().context("a snapshot without disks")?;
    Ok(&disk.path)
}
