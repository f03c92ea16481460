//! Two nodes of a pool: two daemons, each with its own index, on the same repositories.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use uuid::Uuid;

use super::is_expected;
use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::digest;
use crate::support::neighbour::Neighbour;
use crate::support::node::{Kind, TestNode};
use crate::support::truth::{Truth, images};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_makes_the_other_one_has_at_once() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let neighbour = Neighbour::of(&node);
    let machine = node.machine(0, 1, &[1 << 20, 1 << 20]);
    let (here, there) = (node.client().await, neighbour.client(&node).await);
    for _ in 0..count(5, 50) {
        let base = here.create_snapshot(&machine.id).await.unwrap();
        assert_eq!(there.vm(&machine.id).await.unwrap().snapshots, [base.id]);
        let old = fs::read(&machine.disks[0]).unwrap();
        let mut bytes = old.clone();
        bytes[8192..12288]
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(1));
        fs::write(&machine.disks[0], &bytes).unwrap();
        let newer = there.create_snapshot(&machine.id).await.unwrap();
        assert!(newer.created_at > base.created_at);
        assert_eq!(
            here.vm(&machine.id).await.unwrap().snapshots,
            [base.id, newer.id]
        );
        for (client, other) in [(&here, &there), (&there, &here)] {
            let changes = client
                .snapshot(&machine.id, newer.id, Some(base.id))
                .await
                .unwrap();
            let mut replica = old.clone();
            for chunk in &changes.disks[0].chunks {
                let range = [chunk.start, chunk.start + chunk.length];
                let [start, end] = range.map(|at| usize::try_from(at).unwrap());
                let (name, length) = (&changes.disks[0].name, chunk.length);
                let read = other.read(&machine.id, newer.id, name, chunk.start, length);
                let body = read.await.unwrap().bytes().await.unwrap();
                replica[start..end].copy_from_slice(&body);
            }
            assert!(replica == bytes, "{changes:#?}");
            assert!(changes.disks[1].chunks.is_empty(), "{changes:#?}");
            let sum = digest::of_download(client, &newer, &newer.disks[0])
                .await
                .unwrap();
            assert_eq!(sum, digest::of_file(&machine.disks[0]));
        }
        // Each deletes what the other one made.
        there.delete_snapshot(&machine.id, base.id).await.unwrap();
        assert_eq!(here.vm(&machine.id).await.unwrap().snapshots, [newer.id]);
        let error = here.snapshot(&machine.id, base.id, None).await.unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        let error = here
            .snapshot(&machine.id, newer.id, Some(base.id))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        here.delete_snapshot(&machine.id, newer.id).await.unwrap();
        assert!(there.vm(&machine.id).await.unwrap().snapshots.is_empty());
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_on_whichever_node_the_machine_runs() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let node = TestNode::new(&[Kind::Xfs]).await;
    let neighbour = Neighbour::of(&node);
    let machine = node.machine(0, 1, &[1 << 20, 1 << 20]);
    let apis = [
        Api::of(&node).await,
        Api::at(&node, neighbour.address()).await,
    ];
    let mut base: Option<(serde_json::Value, Truth)> = None;
    // What somebody far away has: brought forward by the named ranges alone.
    let mut replicas: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count(12, 200) {
        // The machine has moved, or not.
        let api = &apis[usize::try_from(random.below(2)).unwrap()];
        for disk in &machine.disks {
            let mut bytes = fs::read(disk).unwrap();
            for _ in 0..random.below(8) {
                let at = usize::try_from(random.below(256)).unwrap() * 4096;
                random.fill(&mut bytes[at..at + 4096]);
            }
            // In place, as a guest writes.
            fs::write(disk, bytes).unwrap();
        }
        let images = images(&machine.disks);
        let snapshot = api.snapshot(&machine.id).await;
        let truth = Truth::of(&snapshot, &images);
        match &base {
            None => replicas = images.values().cloned().collect(),
            Some((base, base_truth)) => {
                let compared = api.compare(&machine.id, &snapshot, base).await;
                truth.check_changes(base_truth, &compared);
                for (at, disk) in compared["disks"].as_array().unwrap().iter().enumerate() {
                    fetch(api, &truth, disk, &mut replicas[at]).await;
                }
            }
        }
        let wanted: Vec<&Vec<u8>> = images.values().collect();
        assert!(replicas.iter().eq(wanted), "seed {seed}");
        if let Some((_, old)) = base.replace((snapshot, truth)) {
            // By the node that has not made it, as likely as not.
            let api = &apis[usize::try_from(random.below(2)).unwrap()];
            assert_eq!(api.delete(&old.path()).await.status, 200);
        }
    }
    let (_, last) = base.unwrap();
    assert_eq!(apis[0].delete(&last.path()).await.status, 200);
    assert!(node.snapshot_files().is_empty());
}

/// Reads what a comparison names of a disk into a replica.
async fn fetch(api: &Api, truth: &Truth, disk: &serde_json::Value, replica: &mut [u8]) {
    let path = format!("{}/disks/{}", truth.path(), text(&disk["name"]));
    for chunk in disk["chunks"].as_array().unwrap() {
        let number = |key: &str| usize::try_from(chunk[key].as_u64().unwrap()).unwrap();
        let (start, end) = (number("start"), number("start") + number("length"));
        let range = format!("bytes={start}-{}", end - 1);
        let read = api
            .send(reqwest::Method::GET, &path, &[("range", &range)])
            .await;
        assert_eq!(read.status, 206, "{read:?}");
        replica[start..end].copy_from_slice(&read.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raced_creates_and_deletes_lose_nothing_and_leave_nothing() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let neighbour = Neighbour::of(&node);
    let disks = [0, 1].map(|repository| {
        let path = node.repositories[repository]
            .path()
            .join("VirtualDisks/a disk.img");
        fs::write(&path, vec![3; 64 << 10]).unwrap();
        path.display().to_string()
    });
    let id = "0004fb0000060000ccaf98a0baa2c186";
    node.vm_cfg(
        0,
        id,
        &format!(
            "name = '{id}'\ndisk = ['file:{},xvda,w', 'file:{},xvdb,w']\n",
            disks[0], disks[1]
        ),
    );
    let clients = [node.client().await, neighbour.client(&node).await];
    let mut kept: BTreeSet<Uuid> = BTreeSet::new();
    for _ in 0..count(30, 200) {
        // Both delete the same ones, and both make one, at the same time.
        let doomed: Vec<Uuid> = kept
            .iter()
            .copied()
            .filter(|_| random.below(2) == 0)
            .collect();
        let mut at_work = Vec::new();
        for client in &clients {
            for id_of_doomed in &doomed {
                let (client, doomed) = (client.clone(), *id_of_doomed);
                at_work.push(tokio::spawn(async move {
                    client.delete_snapshot(id, doomed).await.map(|()| None)
                }));
            }
            let client = client.clone();
            at_work.push(tokio::spawn(async move {
                client
                    .create_snapshot(id)
                    .await
                    .map(|snapshot| Some(snapshot.id))
            }));
        }
        kept.retain(|id| !doomed.contains(id));
        for task in at_work {
            let done = tokio::time::timeout(Duration::from_secs(60), task);
            match done.await.expect("a deadlock").unwrap() {
                Ok(made) => kept.extend(made),
                Err(error) => panic!("{error}"),
            }
        }
        for client in &clients {
            let listed: BTreeSet<Uuid> =
                client.vm(id).await.unwrap().snapshots.into_iter().collect();
            assert_eq!(listed, kept);
        }
    }
    // A purge through one while the other one still makes some: no more than those are left.
    let maker = clients[1].clone();
    let making = tokio::spawn(async move {
        for _ in 0..10 {
            if let Err(error) = maker.create_snapshot(id).await {
                assert!(is_expected(&error), "{error}");
            }
        }
    });
    let purge = || {
        let url = format!("{}/api/v1/vms/{id}/snapshots", node.endpoint());
        node.http()
            .delete(url)
            .bearer_auth(clients[0].token())
            .send()
    };
    for _ in 0..10 {
        let status = purge().await.unwrap().status();
        assert!(status == 200 || status == 503, "{status}");
    }
    making.await.unwrap();
    assert_eq!(purge().await.unwrap().status(), 200);
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}
