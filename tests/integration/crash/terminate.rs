//! SIGTERM while requests are in flight.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::ClientError;
use sha2::{Digest, Sha256};

use super::half_made;
use crate::support::digest;
use crate::support::node::{Kind, TestNode};

const DISK: usize = 48 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_finishes_and_nothing_is_half_made() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let big = node.machine(0, 1, &[DISK as u64]);
    let small = node.machine(0, 2, &[1 << 20, 1 << 20]);
    let bytes: Vec<u8> = (0_u64..)
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .take(DISK)
        .collect();
    std::fs::write(&big.disks[0], bytes).unwrap();
    let sum = digest::of_file(&big.disks[0]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&big.id).await.unwrap();

    // Downloads that have begun, taken up only after the signal.
    let mut downloads = Vec::new();
    for _ in 0..3 {
        let body = client
            .read(
                &big.id,
                snapshot.id,
                &snapshot.disks[0].name,
                0,
                DISK as u64,
            )
            .await
            .unwrap();
        downloads.push(body);
    }
    // Snapshots without end, from four clients.
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let (client, id) = (client.clone(), small.id.clone());
            tokio::spawn(async move {
                let mut made = BTreeSet::new();
                loop {
                    match client.create_snapshot(&id).await {
                        Ok(snapshot) => made.insert(snapshot.id),
                        Err(error) => return (made, error),
                    };
                }
            })
        })
        .collect();
    while client.vm(&small.id).await.unwrap().snapshots.len() < 4 {}

    let begun = Instant::now();
    let mut daemon = node.take_daemon();
    daemon.terminate().unwrap();
    for mut body in downloads {
        let mut found = Sha256::new();
        while let Some(bytes) = body.chunk().await.unwrap() {
            found.update(&bytes);
        }
        assert_eq!(<[u8; 32]>::from(found.finalize()), sum);
    }
    let mut made = BTreeSet::new();
    for maker in makers {
        let (own, error) = maker.await.unwrap();
        let is_gone = matches!(
            error,
            ClientError::Transport(_) | ClientError::Unanswered(_)
        );
        assert!(is_gone, "{error}");
        made.extend(own);
    }
    let status = tokio::task::spawn_blocking(move || daemon.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}: {}", node.log());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(half_made(&node), [""; 0]);

    node.start();
    let client = node.client().await;
    let listed: BTreeSet<_> = client
        .vm(&small.id)
        .await
        .unwrap()
        .snapshots
        .into_iter()
        .collect();
    assert!(made.is_subset(&listed), "{made:#?} {listed:#?}");
    // At most the one that was in flight of each client was made and not answered.
    assert!(listed.len() <= made.len() + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_does_not_keep_the_daemon_for_ever() {
    let mut node =
        TestNode::with_config(&[Kind::Xfs], "[api.limits]\nshutdown_grace = \"1s\"\n").await;
    let machine = node.machine(0, 1, &[256 << 20]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    let stuck = client
        .read(
            &machine.id,
            snapshot.id,
            &snapshot.disks[0].name,
            0,
            256 << 20,
        )
        .await
        .unwrap();
    let mut daemon = node.take_daemon();
    let begun = Instant::now();
    daemon.terminate().unwrap();
    let status = tokio::task::spawn_blocking(move || daemon.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop(stuck);
    // Nothing holds the repository.
    let point = node.repositories[0].path();
    let busy = Command::new("fuser").arg("-sm").arg(&point).status();
    assert!(busy.is_err() || !busy.unwrap().success());
}
