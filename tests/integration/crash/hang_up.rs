//! A client that hangs up in the middle of a request.

use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::guest::Random;

use super::half_made;
use crate::support::counts::count;
use crate::support::digest;
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_asked_for_before_it_hung_up_is_done_or_not_begun() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[1 << 20, 1 << 20, 1 << 20]);
    let client = node.client().await;
    let mut cut_off = 0;
    for round in 0..count(40, 400) {
        // A client of its own: its connection goes with it.
        let impatient = node.client().await;
        let id = machine.id.clone();
        let deletes = round % 4 == 3;
        let known = client.vm(&machine.id).await.unwrap().snapshots;
        let request = tokio::spawn(async move {
            match known.first() {
                Some(first) if deletes => impatient.delete_snapshot(&id, *first).await,
                _ => impatient.create_snapshot(&id).await.map(drop),
            }
        });
        tokio::time::sleep(Duration::from_micros(random.below(12_000))).await;
        request.abort();
        cut_off += u32::from(request.await.is_err());
        wait::until_nothing("it is done or not begun", || half_made(&node)).await;
    }
    assert!(cut_off > 0, "nobody hung up");
    // Its end waits for what has been begun.
    let mut daemon = node.take_daemon();
    daemon.terminate().unwrap();
    let status = tokio::task::spawn_blocking(move || daemon.wait());
    assert!(status.await.unwrap().unwrap().success());
    assert_eq!(half_made(&node), [""; 0]);
    // What is left is whole, and goes.
    node.start();
    let client = node.client().await;
    let listed = client.snapshots(&machine.id).await.unwrap();
    println!("{cut_off} hung up, {} snapshots are there", listed.len());
    for snapshot in &listed {
        assert_eq!(snapshot.disks.len(), 3);
        for disk in &snapshot.disks {
            let sum = digest::of_download(&client, snapshot, disk).await.unwrap();
            assert_eq!(sum, digest::of_file(&disk.parent_path));
        }
        client
            .delete_snapshot(&machine.id, snapshot.id)
            .await
            .unwrap();
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_given_up_lets_go_of_the_file() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[256 << 20]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    let disk = &snapshot.disks[0];
    for _ in 0..4 {
        let given_up = node.client().await;
        let mut body = given_up
            .read(&machine.id, snapshot.id, &disk.name, 0, disk.size)
            .await
            .unwrap();
        assert!(body.chunk().await.unwrap().is_some());
    }
    let open = || -> Vec<std::path::PathBuf> {
        let folder = format!("/proc/{}/fd", node.daemon_id());
        let files = std::fs::read_dir(folder).unwrap();
        files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .filter(|path| *path == disk.path)
            .collect()
    };
    wait::until_nothing("the daemon closes the file", open).await;
}
