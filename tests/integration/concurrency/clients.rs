//! Clients of one daemon.

use std::time::Duration;

use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use sha2::{Digest, Sha256};

use super::is_expected;
use crate::support::counts::count;
use crate::support::digest;
use crate::support::node::{Kind, TestNode};

/// One thing that a client does, at random.
async fn one_thing(
    client: &Client,
    purge: &reqwest::RequestBuilder,
    vm: &str,
    random: &mut Random,
) -> Result<&'static str, ClientError> {
    let listed = client.snapshots(vm).await?;
    let pick = |random: &mut Random| {
        let at = usize::try_from(random.below(listed.len() as u64)).unwrap();
        listed.get(at)
    };
    let (one, other) = (pick(random), pick(random));
    match (random.below(20), one, other) {
        (0, ..) => {
            let status = purge.try_clone().unwrap().send().await?.status();
            assert!(status == 200 || status == 503, "a purge answered {status}");
            Ok("purge")
        }
        (1..=3, Some(one), _) => client.delete_snapshot(vm, one.id).await.map(|()| "delete"),
        (4..=8, Some(one), Some(other)) if one.id != other.id => {
            let (base, newer) = if one.created_at < other.created_at {
                (one, other)
            } else {
                (other, one)
            };
            let changes = client.snapshot(vm, newer.id, Some(base.id)).await?;
            // Nobody writes to the disks, so nothing ever changes.
            assert!(
                changes.disks.iter().all(|disk| disk.chunks.is_empty()),
                "{changes:#?}"
            );
            Ok("compare")
        }
        (9..=13, Some(one), _) => {
            for disk in &one.disks {
                let sum = digest::of_download(client, one, disk).await?;
                assert_eq!(sum, digest::of_file(&disk.parent_path));
            }
            Ok("read")
        }
        _ => client.create_snapshot(vm).await.map(|snapshot| {
            assert!(snapshot.disks.len() == 2);
            "create"
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_at_two_machines_get_along() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut seeds = Random::new(seed);
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let machines = [
        node.machine(0, 1, &[256 << 10, 64 << 10]),
        node.machine(1, 2, &[256 << 10, 64 << 10]),
    ];
    for disk in machines.iter().flat_map(|machine| &machine.disks) {
        let size = usize::try_from(disk.metadata().unwrap().len()).unwrap();
        let mut bytes = vec![0; size];
        seeds.fill(&mut bytes);
        std::fs::write(disk, bytes).unwrap();
    }
    let mut at_work = Vec::new();
    for _ in 0..8 {
        let client = node.client().await;
        let http = node.http();
        let endpoint = node.endpoint();
        let vms = machines.clone().map(|machine| machine.id);
        let mut random = Random::new(seeds.number());
        at_work.push(tokio::spawn(async move {
            let mut done = std::collections::BTreeMap::new();
            for _ in 0..count(60, 1000) {
                let vm = &vms[usize::try_from(random.below(2)).unwrap()];
                let purge = http
                    .delete(format!("{endpoint}/api/v1/vms/{vm}/snapshots"))
                    .bearer_auth(client.token());
                let what = match one_thing(&client, &purge, vm, &mut random).await {
                    Ok(what) => what.to_owned(),
                    Err(error) => {
                        assert!(is_expected(&error), "{error}");
                        let ClientError::Refused { status, .. } = error else {
                            unreachable!()
                        };
                        status.as_u16().to_string()
                    }
                };
                *done.entry(what).or_insert(0) += 1;
            }
            done
        }));
    }
    for task in at_work {
        let done = tokio::time::timeout(
            Duration::from_secs(if count(0, 1) == 1 { 1800 } else { 120 }),
            task,
        );
        println!("{:?}", done.await.expect("a deadlock").unwrap());
    }
    let client = node.client().await;
    for machine in &machines {
        let url = format!("{}/api/v1/vms/{}/snapshots", node.endpoint(), machine.id);
        let purged = node.http().delete(url).bearer_auth(client.token()).send();
        assert_eq!(purged.await.unwrap().status(), 200);
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
    let log = node.log();
    assert!(!log.contains(" 500"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_outlives_the_deletion_of_its_snapshot() {
    for kind in [Kind::Xfs, Kind::Btrfs, Kind::BtrfsCompressed] {
        let node = TestNode::new(&[kind]).await;
        let machine = node.machine(0, 1, &[64 << 20]);
        let mut bytes = vec![0; 64 << 20];
        Random::new(5).fill(&mut bytes);
        std::fs::write(&machine.disks[0], bytes).unwrap();
        let sum = digest::of_file(&machine.disks[0]);
        let client = node.client().await;
        let snapshot = client.create_snapshot(&machine.id).await.unwrap();
        let disk = &snapshot.disks[0];
        let mut body = client
            .read(&machine.id, snapshot.id, &disk.name, 0, disk.size)
            .await
            .unwrap();
        let mut found = Sha256::new();
        found.update(body.chunk().await.unwrap().unwrap());
        client
            .delete_snapshot(&machine.id, snapshot.id)
            .await
            .unwrap();
        assert!(!disk.path.exists());
        assert!(node.snapshot_files().is_empty());
        // What the guest does now is none of the download's business.
        std::fs::write(&machine.disks[0], vec![0; 64 << 20]).unwrap();
        while let Some(bytes) = body.chunk().await.unwrap() {
            found.update(&bytes);
        }
        assert_eq!(<[u8; 32]>::from(found.finalize()), sum, "{kind:?}");
        let error = client
            .read(&machine.id, snapshot.id, &disk.name, 0, 1)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }
}
