//! What an orchestrator does: snapshot, full copy, snapshot, changes, compare.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::guest::{self, Random, Work};
use super::machines::Machine;
use super::node::Node;
use crate::client::Client;
use crate::protocol::{Chunk, Snapshot, SnapshotDisk};

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Repeats the run.
    pub seed: u64,
    /// A line for each disk.
    pub disks: Vec<DiskReport>,
}

/// One disk's run.
#[derive(Debug, Serialize)]
pub struct DiskReport {
    /// The machine's friendly name.
    pub vm: String,
    /// The disk's name.
    pub disk: String,
    /// Bytes, at the end.
    pub size: u64,
    /// Bytes moved for the full copy.
    pub full_bytes: u64,
    /// Milliseconds that took.
    pub full_ms: f64,
    /// Bytes that the guest wrote between the two snapshots.
    pub guest_wrote: u64,
    /// Bytes that it discarded.
    pub guest_punched: u64,
    /// Bytes that its disk grew by.
    pub guest_grew: u64,
    /// Bytes moved for the changes.
    pub delta_bytes: u64,
    /// Bytes set to zero without moving them.
    pub delta_zeroed: u64,
    /// Milliseconds that took, comparison not included.
    pub delta_ms: f64,
    /// Milliseconds that the second snapshot held the disk.
    pub stall_ms: f64,
    /// SHA-256 of the second snapshot's disk.
    pub sha256: String,
    /// Whether the replica has the same.
    pub identical: bool,
}

impl Report {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(seed: u64) -> Report {
        Report {
            seed,
            disks: Vec::new(),
        }
    }

    /// Whether every replica is.
    #[must_use]
    pub fn identical(&self) -> bool {
        !self.disks.is_empty() && self.disks.iter().all(|disk| disk.identical)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<18}{:<14}{:>10}{:>12}{:>10}{:>12}{:>12}{:>12}{:>10}{:>10}  replica",
            "machine",
            "disk",
            "size",
            "full copy",
            "ms",
            "guest wrote",
            "discarded",
            "delta",
            "ms",
            "stall ms"
        )?;
        for disk in &self.disks {
            let short: String = disk.disk.chars().skip(10).take(8).collect();
            writeln!(
                f,
                "{:<18}…{:<13}{:>10}{:>12}{:>10.0}{:>12}{:>12}{:>12}{:>10.0}{:>10.2}  {}",
                disk.vm,
                short,
                human(disk.size),
                human(disk.full_bytes),
                disk.full_ms,
                human(disk.guest_wrote),
                human(disk.guest_punched),
                human(disk.delta_bytes),
                disk.delta_ms,
                disk.stall_ms,
                if disk.identical {
                    "identical"
                } else {
                    "DIFFERENT"
                },
            )?;
        }
        let verdict = if self.identical() {
            "every replica is identical to its snapshot (SHA-256)"
        } else {
            "A REPLICA DIFFERS FROM ITS SNAPSHOT"
        };
        writeln!(f, "\n{verdict}")
    }
}

/// Bytes for people.
fn human(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Replicates every machine of the node once in full and once incrementally, and deletes the
/// snapshots again.
///
/// # Errors
/// What the daemon or the file system refuses.
pub async fn run(node: &Node, seed: u64) -> anyhow::Result<Report> {
    let client = node.client().await?;
    let known = client.vms().await?;
    let mut random = Random::new(seed);
    let mut report = Report::new(seed);
    for machine in node.machines() {
        anyhow::ensure!(
            known
                .iter()
                .any(|vm| vm.id == machine.id && vm.snapshot_compatible),
            "the daemon does not list {} as snapshot compatible",
            machine.id
        );
        let folder = node.ground().path().join(format!("replica-{}", machine.id));
        std::fs::create_dir(&folder)?;
        replicate(&client, machine, &folder, &mut random, &mut report).await?;
    }
    Ok(report)
}

/// Replicates one machine into files below `folder`, once in full and once incrementally, and
/// deletes the snapshots again. Adds a line for each disk to `report`.
///
/// # Errors
/// What the daemon or the file system refuses.
pub async fn replicate(
    client: &Client,
    machine: &Machine,
    folder: &Path,
    random: &mut Random,
    report: &mut Report,
) -> anyhow::Result<()> {
    let first = client.create_snapshot(&machine.id).await?;
    let mut full = Vec::new();
    for disk in &first.disks {
        full.push(pull(client, &first, disk, &folder.join(&disk.name)).await?);
    }
    let mut works = Vec::new();
    for disk in &machine.disks {
        works.push((disk.clone(), guest::work(disk, random)?));
    }
    let second = client.create_snapshot(&machine.id).await?;
    let changes = client
        .snapshot(&machine.id, second.id, Some(first.id))
        .await?;
    for (disk, full) in changes.disks.iter().zip(full) {
        let replica = folder.join(&disk.name);
        let delta = pull(client, &changes, disk, &replica).await?;
        let work = works
            .iter()
            .find(|(path, _)| *path == disk.parent_path)
            .map_or_else(Work::default, |(_, work)| *work);
        let sha256 = digest(disk.path.clone()).await?;
        report.disks.push(DiskReport {
            vm: machine.friendly_name.clone(),
            disk: disk.name.clone(),
            size: disk.size,
            full_bytes: full.moved,
            full_ms: milliseconds(full.time),
            guest_wrote: work.written,
            guest_punched: work.punched,
            guest_grew: work.grown,
            delta_bytes: delta.moved,
            delta_zeroed: delta.zeroed,
            delta_ms: milliseconds(delta.time),
            stall_ms: disk.stall_ms,
            identical: digest(replica).await? == sha256,
            sha256,
        });
    }
    for snapshot in [first.id, second.id] {
        client.delete_snapshot(&machine.id, snapshot).await?;
    }
    Ok(())
}

/// What one disk's transfer took.
#[derive(Debug, Clone, Copy)]
pub struct Pulled {
    /// Bytes moved.
    pub moved: u64,
    /// Bytes set to zero without moving them.
    pub zeroed: u64,
    /// How long that took.
    pub time: Duration,
}

/// Fetches every chunk of a snapshot's disk into a replica, and makes it as large as the disk.
///
/// # Errors
/// What the daemon or the file system refuses.
pub async fn pull(
    client: &Client,
    snapshot: &Snapshot,
    disk: &SnapshotDisk,
    replica: &Path,
) -> anyhow::Result<Pulled> {
    let begun = Instant::now();
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(replica)?;
    file.set_len(disk.size)?;
    let (mut moved, mut zeroed) = (0, 0);
    for chunk in &disk.chunks {
        if chunk.zero {
            zero(&file, chunk)?;
            zeroed += chunk.length;
            continue;
        }
        let mut body = client
            .read(
                &snapshot.vm_id,
                snapshot.id,
                &disk.name,
                chunk.start,
                chunk.length,
            )
            .await?;
        let mut position = chunk.start;
        while let Some(bytes) = body.chunk().await? {
            file.write_all_at(&bytes, position)?;
            position += bytes.len() as u64;
        }
        anyhow::ensure!(
            position == chunk.start + chunk.length,
            "a download ended early"
        );
        moved += chunk.length;
    }
    Ok(Pulled {
        moved,
        zeroed,
        time: begun.elapsed(),
    })
}

fn zero(file: &File, chunk: &Chunk) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut position = chunk.start;
    let end = chunk.start + chunk.length;
    while position < end {
        let step = (end - position).min(1 << 20);
        file.write_all_at(
            &zeros[..usize::try_from(step).map_err(io::Error::other)?],
            position,
        )?;
        position += step;
    }
    Ok(())
}

/// SHA-256 of a file.
///
/// # Errors
/// The file system's.
pub async fn digest(path: PathBuf) -> anyhow::Result<String> {
    let hash = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
        }
        Ok(digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    });
    Ok(hash.await??)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
