//! Clients of one daemon.

use std::time::Duration;

use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::is_expected;
use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::digest;
use crate::support::node::{Kind, TestNode};

/// One thing that a client does, at random.
async fn one_thing(
    client: &Client,
    api: &Api,
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
            let purged = api.delete(&format!("/vms/{vm}/snapshots")).await;
            assert!(purged.status == 200 || purged.status == 503, "{purged:?}");
            Ok("purge")
        }
        (14..=15, Some(one), _) => {
            let path = format!("/vms/{vm}/snapshots/{}", one.id);
            let label = format!("label {}", random.below(100));
            let body = json!({"label": label, "expires_in": "1h"});
            let changed = api.send_body(Method::PATCH, &path, body).await;
            match changed.status {
                200 => assert_eq!(changed.json()["label"], *label),
                404 | 409 | 503 => {}
                _ => panic!("{changed:?}"),
            }
            Ok("change")
        }
        // Gone within seconds, by whoever is faster.
        (16, ..) => {
            let path = format!("/vms/{vm}/snapshots");
            let body = json!({"expires_in": 1});
            let made = api.send_body(Method::POST, &path, body).await;
            assert!(matches!(made.status, 200 | 404 | 503), "{made:?}");
            Ok("create for a second")
        }
        (17, ..) => {
            for path in ["/snapshots?space=true", "/node", "/vms"] {
                let answer = api.get(path).await;
                assert!(matches!(answer.status, 200 | 503), "{path}: {answer:?}");
            }
            Ok("look")
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
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let node = TestNode::with_config(&[Kind::Xfs, Kind::Btrfs], more).await;
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
        let api = Api::with_token(&node, &client.token());
        let vms = machines.clone().map(|machine| machine.id);
        let mut random = Random::new(seeds.number());
        at_work.push(tokio::spawn(async move {
            let mut done = std::collections::BTreeMap::new();
            for _ in 0..count(60, 1000) {
                let vm = &vms[usize::try_from(random.below(2)).unwrap()];
                let what = match one_thing(&client, &api, vm, &mut random).await {
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
