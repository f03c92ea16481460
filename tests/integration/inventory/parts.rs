//! A snapshot whose parts lie in two repositories, one of which goes away.

use std::fs;
use std::path::PathBuf;

use super::{config, disk_file, some_has};
use crate::support::node::{Kind, TestNode};

const ID: &str = "0004fb0000060000ccaf98a0baa2c186";

/// A node, and a machine with a disk in each of its two repositories.
async fn spread() -> TestNode {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let one = disk_file(&node, 0, "VirtualDisks/one.img", 8192, 1);
    let two = disk_file(&node, 1, "VirtualDisks/two.img", 4096, 2);
    let disks = [format!("file:{one},xvda,w"), format!("file:{two},xvdb,w")];
    node.vm_cfg(0, ID, &config(ID, &disks));
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_waits_for_a_repository_that_is_not_mounted() {
    let mut node = spread().await;
    let client = node.client().await;
    let snapshot = client.create_snapshot(ID).await.unwrap();
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();

    assert!(client.vm(ID).await.unwrap().snapshots.is_empty());
    let id = snapshot.id.to_string();
    let warnings = client.node().await.unwrap().warnings;
    let away = node.repositories[1].id.clone();
    assert!(some_has(&warnings, &[&id, &away]), "{warnings:#?}");
    // It is there, only not now; what is still here of it stays, whatever is asked.
    for error in [
        client.snapshots(ID).await.err(),
        client.snapshot(ID, snapshot.id, None).await.err(),
        client.read(ID, snapshot.id, "one.img", 0, 4096).await.err(),
        client.read(ID, snapshot.id, "two.img", 0, 4096).await.err(),
        client.delete_snapshot(ID, snapshot.id).await.err(),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains("503") && error.contains(&away), "{error}");
    }

    // Nor does a restart conclude anything from what is missing.
    node.stop();
    node.start();
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    let client = node.client().await;
    assert_eq!(client.vm(ID).await.unwrap().snapshots, [snapshot.id]);
    for (name, byte, length) in [("one.img", 1, 8192), ("two.img", 2, 4096)] {
        let body = client
            .read(ID, snapshot.id, name, 0, length as u64)
            .await
            .unwrap();
        assert_eq!(body.bytes().await.unwrap(), vec![byte; length]);
    }
    client.delete_snapshot(ID, snapshot.id).await.unwrap();
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_one_of_its_parts_can_only_be_deleted() {
    let node = spread().await;
    let client = node.client().await;
    let whole = client.create_snapshot(ID).await.unwrap();
    let part = |id: &uuid::Uuid| -> PathBuf {
        let shelf = node.repositories[1].path().join("CoriolisSnapshots");
        shelf.join(id.to_string())
    };
    for purge in [false, true] {
        let torn = client.create_snapshot(ID).await.unwrap();
        remove_by_hand(&part(&torn.id));
        assert_eq!(client.vm(ID).await.unwrap().snapshots, [whole.id]);
        let id = torn.id.to_string();
        let warnings = client.node().await.unwrap().warnings;
        assert!(
            some_has(&warnings, &[&id, "can only be deleted"]),
            "{warnings:#?}"
        );
        let error = client
            .read(ID, torn.id, "one.img", 0, 4096)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("409") && error.contains("removed by hand"),
            "{error}"
        );
        if purge {
            let url = format!("{}/api/v1/vms/{ID}/snapshots", node.endpoint());
            let request = node.http().delete(url).bearer_auth(client.token());
            assert_eq!(request.send().await.unwrap().status(), 200);
        } else {
            client.delete_snapshot(ID, torn.id).await.unwrap();
            assert_eq!(client.vm(ID).await.unwrap().snapshots, [whole.id]);
        }
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

fn remove_by_hand(directory: &PathBuf) {
    let status = std::process::Command::new("chattr")
        .args(["-R", "-i"])
        .arg(directory)
        .status();
    assert!(status.unwrap().success());
    fs::remove_dir_all(directory).unwrap();
}
