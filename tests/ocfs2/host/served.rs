//! A node on OCFS2 with everything around it, seen from outside: what an orchestrator does, over
//! HTTPS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::operations::demo::replication::{self, DiskReport, Report, pull};
use coriolis_ovm_exporter::protocol::{Node as NodeInfo, Reflink};
use tokio::runtime::Runtime;

use super::Lab;
use super::image::{self, FileSystem};
use super::node::{Node, Site};
use crate::orders::{Answer, Order};
use crate::scenario::Scenario;

const MIB: u64 = 1 << 20;

/// A virtual machine with a disk in each size, and what the host needs to know of it.
struct Subject {
    id: String,
    disks: Vec<PathBuf>,
}

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    let site = Site::alone(lab, scenario, &disks)?;
    let mut node = site.boot()?;
    let (kernel, file_system) = node.wait_until_up()?;
    println!("  Linux {kernel}, {file_system}");
    let mut subjects = Vec::new();
    for repository in 0..disks.len() {
        let seed = lab.seed.wrapping_add(u64::try_from(repository)?);
        subjects.push(make_subject(&mut node, seed, repository)?);
    }
    let runtime = Runtime::new()?;
    let client = runtime.block_on(node.client())?;
    let about = ask_with_curl(&site, &client, lab.folder.path())?;
    check_node(&about, disks.len())?;

    let mut report = Report {
        seed: lab.seed,
        disks: Vec::new(),
    };
    for (at, subject) in subjects.iter().enumerate() {
        let folder = lab.folder.path().join(format!("replica-{at}"));
        std::fs::create_dir(&folder)?;
        let seed = lab.seed.wrapping_add(u64::try_from(at)? << 8);
        let work = replicate(&client, &mut node, subject, &folder, seed, &mut report);
        runtime.block_on(work)?;
    }
    print!("{report}");
    ensure!(report.identical(), "a replica differs");
    let left = node.shelf()?;
    ensure!(left.is_empty(), "left in the snapshot folders: {left:?}");
    node.end()?;
    disks.iter().try_for_each(FileSystem::check)
}

fn make_subject(node: &mut Node<'_>, seed: u64, repository: usize) -> anyhow::Result<Subject> {
    let number = u32::try_from(repository)? + 1;
    let (id, disks) = node.make_machine(number, repository, &[48 * MIB, 16 * MIB])?;
    for (at, disk) in (0..).zip(&disks) {
        // An operating system at the start, some data further on, holes between.
        for offset in [0, 8 * MIB] {
            node.tell(&Order::Scribble {
                disk: disk.clone(),
                seed: seed.wrapping_add(at << 16).wrapping_add(offset),
                offset,
                length: 3 * MIB,
            })?;
        }
    }
    Ok(Subject { id, disks })
}

/// `GET /node`, as an administrator would.
fn ask_with_curl(site: &Site<'_>, client: &Client, folder: &Path) -> anyhow::Result<NodeInfo> {
    let authority = folder.join("ca-pub.pem");
    std::fs::write(&authority, &site.authority)?;
    let said = image::run(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
            .arg("--cacert")
            .arg(&authority)
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", client.token()))
            .arg(format!("{}/api/v1/node", site.endpoint())),
    )?;
    serde_json::from_str(&said).with_context(|| format!("curl: {said}"))
}

fn check_node(about: &NodeInfo, repositories: usize) -> anyhow::Result<()> {
    ensure!(about.repositories.len() == repositories, "{about:#?}");
    for repository in &about.repositories {
        ensure!(
            repository.state == "mounted"
                && repository.file_system.as_deref() == Some("ocfs2")
                && repository.reflink == Reflink::Yes,
            "{repository:#?}"
        );
    }
    Ok(())
}

async fn replicate(
    client: &Client,
    node: &mut Node<'_>,
    subject: &Subject,
    folder: &Path,
    seed: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let vm = subject.id.as_str();
    let known = client.vm(vm).await?;
    ensure!(known.snapshot_compatible, "{known:#?}");
    let first = client.create_snapshot(vm).await?;
    let mut full = Vec::new();
    for disk in &first.disks {
        full.push(pull(client, &first, disk, &folder.join(&disk.name)).await?);
    }
    let mut works = Vec::new();
    for (at, disk) in (0..).zip(&subject.disks) {
        let order = Order::Work {
            disk: disk.clone(),
            seed: seed.wrapping_add(at),
        };
        let Answer::Work {
            written,
            punched,
            grown,
        } = node.ask(&order)?
        else {
            anyhow::bail!("work is not answered as such");
        };
        works.push((written, punched, grown));
    }
    let second = client.create_snapshot(vm).await?;
    let listed = client.snapshots(vm).await?;
    ensure!(
        listed
            .iter()
            .map(|snapshot| snapshot.id)
            .eq([first.id, second.id]),
        "{listed:#?}"
    );
    let asked = Instant::now();
    let changes = client.snapshot(vm, second.id, Some(first.id)).await?;
    println!(
        "  {vm}: compared in {:.0} ms",
        milliseconds(asked.elapsed())
    );
    for (at, disk) in changes.disks.iter().enumerate() {
        let replica = folder.join(&disk.name);
        let delta = pull(client, &changes, disk, &replica).await?;
        let place = subject
            .disks
            .iter()
            .position(|path| *path == disk.parent_path)
            .context("an unknown disk")?;
        let (guest_wrote, guest_punched, guest_grew) = works[place];
        // Nobody writes to the disk since the second snapshot was taken.
        let sha256 = node.digest(disk.parent_path.clone())?;
        report.disks.push(DiskReport {
            vm: known.friendly_name.clone(),
            disk: disk.name.clone(),
            size: disk.size,
            full_bytes: full[at].moved,
            full_ms: milliseconds(full[at].time),
            guest_wrote,
            guest_punched,
            guest_grew,
            delta_bytes: delta.moved,
            delta_zeroed: delta.zeroed,
            delta_ms: milliseconds(delta.time),
            stall_ms: disk.stall_ms,
            identical: replication::digest(replica).await? == sha256,
            sha256,
        });
    }
    for snapshot in [first.id, second.id] {
        client.delete_snapshot(vm, snapshot).await?;
        match client.snapshot(vm, snapshot, None).await {
            Err(ClientError::Refused { status, .. }) if status == 404 => {}
            other => anyhow::bail!("deleted, and then: {other:?}"),
        }
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
