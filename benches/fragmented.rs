//! What a fragmented disk costs: `make bench`.
//!
//! Two machines on one XFS, one with a disk of 1 extent and one with a disk of 50,000. Reads and
//! listings are alternated between the two and must cost the same; a comparison of the fragmented
//! disk is set against the FIEMAP calls that it makes, alone. Medians; ratios within one run.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::{Machine, scribble};
use coriolis_ovm_exporter::operations::demo::node::Node;
use coriolis_ovm_exporter::ovm::repository::{Repository, RepositorySource};
use coriolis_ovm_exporter::snapshots::{Refine, Snapshots, Subject, SubjectDisk, Wish};
use coriolis_ovm_exporter::sys::fiemap::{self, ExtentReader};

const EXTENTS: u64 = 50_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("load average before: {}", load());
    runtime.block_on(over_https());
    comparison();
    println!("load average after:  {}", load());
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Every second block of 4 KiB is written: so many extents with holes between.
fn fragment(disk: &Path) {
    let file = File::options().write(true).open(disk).unwrap();
    file.set_len(EXTENTS * 8192).unwrap();
    for at in 0..EXTENTS {
        file.write_all_at(&[7; 4096], at * 8192).unwrap();
    }
    file.sync_all().unwrap();
}

fn machines(repository: &Path) -> Vec<Machine> {
    let plain = Machine::create(repository, 1, "plain", &[EXTENTS * 8192]).unwrap();
    let fragmented = Machine::create(repository, 2, "fragmented", &[EXTENTS * 8192]).unwrap();
    let file = File::options().write(true).open(&plain.disks[0]).unwrap();
    scribble(&file, &mut Random::new(1), 0, EXTENTS * 8192).unwrap();
    file.sync_all().unwrap();
    fragment(&fragmented.disks[0]);
    vec![plain, fragmented]
}

async fn over_https() {
    let ground = Ground::xfs(4 << 30).unwrap();
    let machines = machines(&ground.repository());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"));
    let node = Node::with_machines(ground, machines.clone(), program)
        .await
        .unwrap();
    let client = node.client().await.unwrap();
    let mut snapshots = Vec::new();
    for machine in &machines {
        let snapshot = client.create_snapshot(&machine.id).await.unwrap();
        println!(
            "{}: {} extents, the clone held the disk for {:.1} ms",
            machine.friendly_name, snapshot.disks[0].extents, snapshot.disks[0].stall_ms
        );
        snapshots.push(snapshot);
    }
    let (mut plain, mut fragmented) = (Vec::new(), Vec::new());
    let (mut plain_read, mut fragmented_read) = (Vec::new(), Vec::new());
    for round in 0..300_u64 {
        for (at, machine) in machines.iter().enumerate() {
            let begun = Instant::now();
            client.vm(&machine.id).await.unwrap();
            [&mut plain, &mut fragmented][at].push(begun.elapsed());
            let disk = &snapshots[at].disks[0];
            let offset = round * 7919 % EXTENTS * 8192;
            let begun = Instant::now();
            let read = client
                .read(&machine.id, snapshots[at].id, &disk.name, offset, 4096)
                .await;
            assert_eq!(read.unwrap().bytes().await.unwrap().len(), 4096);
            [&mut plain_read, &mut fragmented_read][at].push(begun.elapsed());
        }
    }
    report(
        "GET /vms/{vm}, 50,000 extents against 1",
        median(&mut fragmented),
        median(&mut plain),
    );
    report(
        "4 KiB read, 50,000 extents against 1",
        median(&mut fragmented_read),
        median(&mut plain_read),
    );
}

#[derive(Debug)]
struct Only(PathBuf);

impl RepositorySource for Only {
    fn repositories(&self) -> Vec<Repository> {
        vec![Repository::inspect("r".into(), None, self.0.clone())]
    }
}

fn comparison() {
    let ground = Ground::xfs(4 << 30).unwrap();
    let root = ground.repository();
    let disk = root.join("disk.img");
    File::create(&disk).unwrap();
    fragment(&disk);
    let source = Only(root.clone());
    let repository = source.repositories().remove(0);
    let snapshots = Snapshots::open(
        &ground.path().join("index.db"),
        Arc::new(source),
        config::Config::default().snapshots,
        "bench".into(),
    )
    .unwrap();
    let subject = Subject {
        vm_id: "vm".into(),
        domain: None,
        disks: vec![SubjectDisk {
            name: "disk.img".into(),
            path: disk.clone(),
            repository,
        }],
    };
    let base = snapshots
        .create(&subject, &Wish::default(), &snapshots.turn())
        .unwrap();
    let file = File::options().write(true).open(&disk).unwrap();
    for at in 0..500 {
        file.write_all_at(&[9; 4096], at * 100 * 8192).unwrap();
    }
    let current = snapshots
        .create(&subject, &Wish::default(), &snapshots.turn())
        .unwrap();
    let open = |snapshot: &coriolis_ovm_exporter::snapshots::Snapshot| {
        File::open(snapshot.path(&snapshot.manifest.disks[0]).unwrap()).unwrap()
    };
    let (before, now) = (open(&base), open(&current));
    println!(
        "comparison of {} with {} extents",
        fiemap::count(&before).unwrap(),
        fiemap::count(&now).unwrap()
    );
    let (mut whole, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        let begun = Instant::now();
        let compared = snapshots
            .compare(current.clone(), &base.id().to_string(), Refine::Auto)
            .unwrap();
        whole.push(begun.elapsed());
        assert_eq!(compared.disks[0].ranges.len(), 500);
        // The same four readings, without anything done to them.
        let begun = Instant::now();
        for file in [&before, &now, &before, &now] {
            assert!(ExtentReader::new(file, 0).map(Result::unwrap).count() >= 49_000);
        }
        calls.push(begun.elapsed());
    }
    report(
        "comparison against its FIEMAP calls alone",
        median(&mut whole),
        median(&mut calls),
    );
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn report(what: &str, one: Duration, other: Duration) {
    println!(
        "{what}: {:.2} ms against {:.2} ms, ratio {:.2}",
        one.as_secs_f64() * 1e3,
        other.as_secs_f64() * 1e3,
        one.as_secs_f64() / other.as_secs_f64()
    );
}
