//! Clients of the first generation work unchanged: one written here, one in Python, both from
//! what the first generation's interface says alone.

mod first_generation;
mod guests;
mod python;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coriolis_ovm_exporter::operations::demo::guest::Random;

use self::first_generation::{OldClient, Snapshot};
use super::support::counts::count;
use super::support::node::{Kind, PASSWORD, TestNode, USER};

/// Sizes of the disks at the start: whole blocks, an odd number of bytes, nothing.
const SIZES: [u64; 3] = [24 << 20, (9 << 20) + 512, 0];

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_on_xfs() {
    a_whole_life(Kind::Xfs, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_on_xfs_with_slashes() {
    a_whole_life(Kind::Xfs, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_on_btrfs() {
    a_whole_life(Kind::Btrfs, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_on_btrfs_with_slashes() {
    a_whole_life(Kind::Btrfs, "/").await;
}

/// Everything that an old client does. Its paths end with `slash`.
async fn a_whole_life(kind: Kind, slash: &'static str) {
    let mut random = seeded();
    let node = TestNode::new(&[kind]).await;
    let machine = node.machine(0, 1, &SIZES);
    guests::install(&machine, &mut random);
    let client = OldClient::login(&node, USER, PASSWORD, slash).await;
    assert_token(&client.token);

    let vms = client.vms().await;
    assert_eq!(vms.len(), 1);
    let vm = client.vm(&machine.id).await;
    assert_eq!(vm, vms[0]);
    assert_eq!(vm.name, machine.id);
    assert_eq!(vm.friendly_name, machine.friendly_name);
    assert_eq!(vm.uuid.replace('-', ""), machine.id);
    assert!(vm.snapshot_compatible);
    assert!(vm.snapshots.is_empty());
    let (disks, cd) = vm.disks.split_at(SIZES.len());
    for (disk, (path, device)) in disks
        .iter()
        .zip(machine.disks.iter().zip(["xvda", "xvdb", "xvdc"]))
    {
        assert_eq!(Path::new(&disk.path), path);
        assert_eq!(Path::new(&disk.name), path.file_name().unwrap());
        assert_eq!(disk.device_name, device);
        assert!(disk.snapshot_compatible);
        assert_eq!(disk.mode, "w");
    }
    assert_eq!(cd.len(), 1, "the CD is listed, after the disks");

    let first = client.create_snapshot(&machine.id).await;
    assert_eq!(first.vm_id, machine.id);
    assert_eq!(
        client.snapshots(&machine.id).await,
        std::slice::from_ref(&first)
    );
    assert_eq!(client.snapshot(&machine.id, &first.id, None).await, first);
    assert_layout(&node, &machine.disks, &first);
    let replicas = tempfile::tempdir().unwrap();
    client.download_full(&first, replicas.path()).await;
    assert_identical(&first, replicas.path());

    let mut newest = first.clone();
    let mut taken = vec![first.id.clone()];
    for round in 0..count(3, 40) {
        guests::work(&machine, &mut random);
        let next = client.create_snapshot(&machine.id).await;
        let changed = client
            .snapshot(&machine.id, &next.id, Some(&newest.id))
            .await;
        assert_eq!(changed.id, next.id);
        assert_layout(&node, &machine.disks, &changed);
        let moved = client.download_changes(&changed, replicas.path()).await;
        assert_identical(&changed, replicas.path());
        println!("round {round}: {moved} bytes moved");
        taken.push(next.id.clone());
        newest = next;
    }
    assert_eq!(client.vm(&machine.id).await.snapshots, taken);
    let listed = client.snapshots(&machine.id).await;
    assert_eq!(listed.iter().map(|s| &s.id).collect::<Vec<_>>(), {
        taken.iter().collect::<Vec<_>>()
    });

    for _ in 0..2 {
        client.delete_snapshot(&machine.id, &first.id).await;
    }
    let left = client.vm(&machine.id).await.snapshots;
    assert_eq!(left, taken[1..]);
    client.delete_all_snapshots(&machine.id).await;
    assert!(client.snapshots(&machine.id).await.is_empty());
    assert!(client.vm(&machine.id).await.snapshots.is_empty());
    assert!(
        node.snapshot_files().is_empty(),
        "{:?}",
        node.snapshot_files()
    );
    // Another time: there is nothing, and that is no error.
    client.delete_all_snapshots(&machine.id).await;
}

/// Random numbers whose seed is printed; `TEST_SEED` repeats a run.
fn seeded() -> Random {
    let seed: u64 =
        std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("TEST_SEED={seed}");
    Random::new(seed)
}

/// HS256; claims `user`, `exp` in seven days, `iss`.
fn assert_token(token: &str) {
    let parts: Vec<serde_json::Value> = token
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0]["alg"], "HS256");
    assert_eq!(parts[1]["user"], USER);
    assert!(parts[1]["iss"].is_string());
    let left = parts[1]["exp"].as_i64().unwrap() - jiff::Timestamp::now().as_second();
    let week = 7 * 24 * 3600;
    assert!((week - 60..=week).contains(&left), "{left} s");
}

/// Where a snapshot's files lie, and that its chunks are sorted, joined and inside the disk.
fn assert_layout(node: &TestNode, disks: &[PathBuf], snapshot: &Snapshot) {
    let repository = node.repositories[0].path();
    let parents: Vec<&PathBuf> = snapshot.disks.iter().map(|d| &d.parent_path).collect();
    assert_eq!(parents, disks.iter().collect::<Vec<_>>());
    for disk in &snapshot.disks {
        assert_eq!(disk.snapshot_id, snapshot.id);
        assert_eq!(disk.repo_mountpoint, repository);
        assert_eq!(
            disk.path,
            repository
                .join("CoriolisSnapshots")
                .join(&snapshot.id)
                .join(&disk.name)
        );
        let size = fs::metadata(&disk.path).unwrap().len();
        let mut end = 0;
        for chunk in &disk.chunks {
            assert!(chunk.length > 0 && chunk.start >= end, "{disk:?}");
            end = chunk.start + chunk.length;
        }
        assert!(end <= size, "{disk:?}");
    }
}

/// Every replica holds the same bytes as its disk's file in the snapshot.
fn assert_identical(snapshot: &Snapshot, replicas: &Path) {
    for disk in &snapshot.disks {
        let (is, should_be) = (
            fs::read(replicas.join(&disk.name)).unwrap(),
            fs::read(&disk.path).unwrap(),
        );
        assert_eq!(is.len(), should_be.len(), "size of {}", disk.name);
        let different = is.iter().zip(&should_be).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "bytes of {} are wrong", disk.name);
    }
}
