//! What a comparison must name, and what it must not.

use std::fs::File;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use nix::fcntl::{FallocateFlags, fallocate};
use reqwest::Method;
use serde_json::Value;

use super::{chunks, disk_path, named, write};
use crate::support::api::Api;
use crate::support::node::{Kind, TestNode};

const MIB: u64 = 1 << 20;

/// Writes what the chunks name over the base's bytes, as any client does.
async fn apply(api: &Api, compared: &Value, replica: &mut Vec<u8>) {
    for (start, end, _) in chunks(compared, 0) {
        let range = format!("bytes={start}-{}", end - 1);
        let path = disk_path(compared, 0);
        let answer = api.send(Method::GET, &path, &[("range", &range)]).await;
        assert_eq!(answer.status, 206);
        let (start, end) = (
            usize::try_from(start).unwrap(),
            usize::try_from(end).unwrap(),
        );
        if replica.len() < end {
            replica.resize(end, 0xEE);
        }
        replica[start..end].copy_from_slice(&answer.body);
    }
}

/// First generation: an incremental copy wrong in 1,044,522 bytes, all inside the hole.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_punched_since_the_base_is_not_reported() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let api = Api::of(&node).await;
    for repository in 0..2 {
        let vm = node.machine(
            repository,
            1 + u32::try_from(repository).unwrap(),
            &[16 * MIB],
        );
        write(&vm.disks[0], 11, 0, 16 << 20);
        let base = api.snapshot(&vm.id).await;
        let mut replica = api.get(&disk_path(&base, 0)).await.body.to_vec();
        let disk = File::options().write(true).open(&vm.disks[0]).unwrap();
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Neither end on a block's boundary.
        fallocate(&disk, flags, 5_000_001, 1_044_522).unwrap();
        let next = api.snapshot(&vm.id).await;
        let compared = api.compare(&vm.id, &next, &base).await;
        assert!(
            chunks(&compared, 0)
                .iter()
                .any(|&(start, end, zero)| { zero && start <= 5_005_312 && end >= 6_041_600 }),
            "{compared}"
        );
        apply(&api, &compared, &mut replica).await;
        assert!(replica == api.get(&disk_path(&next, 0)).await.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_shrunk_since_the_base_is_not_reported() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let api = Api::of(&node).await;
    let vm = node.machine(0, 1, &[4 * MIB]);
    write(&vm.disks[0], 12, 0, 4 << 20);
    let base = api.snapshot(&vm.id).await;
    let mut replica = api.get(&disk_path(&base, 0)).await.body.to_vec();
    let disk = File::options().write(true).open(&vm.disks[0]).unwrap();
    disk.set_len(MIB + 100).unwrap();
    let shrunk = api.snapshot(&vm.id).await;
    let compared = api.compare(&vm.id, &shrunk, &base).await;
    assert_eq!(compared["disks"][0]["size"], MIB + 100);
    let size = api.head(&disk_path(&shrunk, 0)).await;
    assert_eq!(size.header("content-length"), (MIB + 100).to_string());
    assert!(
        chunks(&compared, 0)
            .iter()
            .all(|&(_, end, _)| end <= MIB + 100)
    );
    // Longer again: what lay behind the end is zero now, and said to be.
    disk.set_len(4 * MIB).unwrap();
    let regrown = api.snapshot(&vm.id).await;
    let compared = api.compare(&vm.id, &regrown, &base).await;
    let last = *chunks(&compared, 0).last().unwrap();
    assert!(last.1 == 4 * MIB && last.2, "{compared}");
    apply(&api, &compared, &mut replica).await;
    assert!(replica == api.get(&disk_path(&regrown, 0)).await.body);
    // And compared with the short one, a replica of which ends early.
    let mut short = api.get(&disk_path(&shrunk, 0)).await.body.to_vec();
    let compared = api.compare(&vm.id, &regrown, &shrunk).await;
    apply(&api, &compared, &mut short).await;
    assert!(short == api.get(&disk_path(&regrown, 0)).await.body);
}

/// First generation: 1,073,741,824 bytes for 4,096 written.
#[tokio::test(flavor = "multi_thread")]
async fn one_small_write_resends_the_whole_extent() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let api = Api::of(&node).await;
    for repository in 0..2 {
        let vm = node.machine(
            repository,
            1 + u32::try_from(repository).unwrap(),
            &[64 * MIB],
        );
        write(&vm.disks[0], 13, 0, 64 << 20);
        let base = api.snapshot(&vm.id).await;
        write(&vm.disks[0], 14, 20 * MIB + 4096, 4096);
        let next = api.snapshot(&vm.id).await;
        let compared = api.compare(&vm.id, &next, &base).await;
        assert!(named(&compared, 0) <= 2 * 4096, "{compared}");
        assert_eq!(chunks(&compared, 0)[0].0, 20 * MIB + 4096);
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut blocks = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let block = random.below(64 * MIB / 4096);
            blocks.insert(block);
            write(&vm.disks[0], random.number(), block * 4096, 4096);
        }
        let last = api.snapshot(&vm.id).await;
        let compared = api.compare(&vm.id, &last, &next).await;
        let written = 4096 * u64::try_from(blocks.len()).unwrap();
        let moved = named(&compared, 0);
        assert!(moved >= written, "seed {seed}");
        assert!(
            moved * 100 <= written * 105,
            "{moved} for {written}, seed {seed}"
        );
    }
}
