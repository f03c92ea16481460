//! What is left by a daemon that ends, and what another node knows.

use std::fs;
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::guest::Random;

use super::{chunks, write};
use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::neighbour::Neighbour;
use crate::support::node::{Kind, TestNode};
use crate::support::wire::within;

/// First generation: directory and file left for ever. And it holds no record while it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_a_create_leaves_files_for_ever() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[8 << 20, 8 << 20, 8 << 20]);
    let path = format!("/vms/{}/snapshots", vm.id);
    for disk in &vm.disks {
        write(disk, seed, 0, 8 << 20);
    }
    for round in 0..count(6, 60) {
        let api = Api::of(&node).await;
        let request = path.clone();
        // Nobody may be left to answer.
        let asking = tokio::spawn(async move { api.post(&request).await.is_ok() });
        let wait = Duration::from_micros(random.below(8000));
        tokio::time::sleep(wait).await;
        if round % 2 == 0 {
            node.kill();
        } else {
            node.stop();
        }
        let answered = within(asking).await.unwrap();
        println!("round {round}: ended after {wait:?}, answered: {answered}");
        node.start();
        let api = Api::of(&node).await;
        let listed = api.json(&path).await;
        let shelf = node.repositories[0].path().join("CoriolisSnapshots");
        let mut folders: Vec<String> = fs::read_dir(&shelf)
            .map(|items| {
                let names = items.map(|item| item.unwrap().file_name().into_string().unwrap());
                names.collect()
            })
            .unwrap_or_default();
        folders.sort();
        let mut known: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| text(&snapshot["id"]))
            .collect();
        known.sort_unstable();
        assert_eq!(folders, known, "round {round}, seed {seed}");
        for snapshot in listed.as_array().unwrap() {
            assert_eq!(snapshot["disks"].as_array().unwrap().len(), 3);
        }
        assert_eq!(api.delete(&path).await.status, 200);
        assert!(node.snapshot_files().is_empty(), "seed {seed}");
    }
}

/// First generation: the other node knows nothing, and everything is copied again.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_migration_the_other_node_knows_no_snapshot() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4 << 20]);
    write(&vm.disks[0], 1, 0, 4 << 20);
    let base = Api::of(&node).await.snapshot(&vm.id).await;
    // Another daemon with an index of its own; the repository is shared.
    let other = Neighbour::of(&node);
    let api = Api::at(&node, other.address()).await;
    write(&vm.disks[0], 2, 1 << 20, 4096);
    let next = api.snapshot(&vm.id).await;
    let compared = api.compare(&vm.id, &next, &base).await;
    assert_eq!(chunks(&compared, 0), [(1 << 20, (1 << 20) + 4096, false)]);
    // And back.
    let here = Api::of(&node).await;
    let seen = here.compare(&vm.id, &next, &base).await;
    assert_eq!(chunks(&seen, 0), chunks(&compared, 0));
    let path = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(here.json(&path).await.as_array().unwrap().len(), 2);
    assert_eq!(api.delete(&path).await.status, 200);
    assert_eq!(here.json(&path).await.as_array().unwrap().len(), 0);
}

// Reflink paths handed to the kernel without a terminating NUL: only OCFS2's own call takes paths,
// `sys::reflink` makes C strings of them. Here paths of every length around a word's boundary go
// through a snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_some_length_is_handed_over_without_its_end() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let folder = node.repositories[0].path().join("VirtualDisks");
    fs::create_dir_all(&folder).unwrap();
    let paths: Vec<_> = (1..=17)
        .chain([100, 200, 250])
        .map(|length| folder.join(format!("{}.img", "d".repeat(length))))
        .collect();
    for (seed, path) in (1..).zip(&paths) {
        fs::write(path, "").unwrap();
        write(path, seed, 0, 4096);
    }
    let entries: Vec<String> = paths
        .iter()
        .zip('a'..)
        .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
        .collect();
    let config = format!("name = 'paths'\ndisk = [{}]\n", entries.join(",\n"));
    node.vm_cfg(0, "paths", &config);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot("paths").await;
    for (at, path) in paths.iter().enumerate() {
        let copy = text(&snapshot["disks"][at]["path"]);
        assert_eq!(fs::read(copy).unwrap(), fs::read(path).unwrap(), "{copy}");
    }
}
