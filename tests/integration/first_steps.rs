//! The whole way through, as short as it can be: the demo, and a node that restarts.

use std::process::Command;

use super::support::node::{Kind, TestNode};

#[test]
fn the_demo_ends_with_identical_replicas_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"))
        .args(["demo", "--json", "--seed", "7"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let disks = report["disks"].as_array().unwrap();
    assert_eq!(disks.len(), 5);
    for disk in disks {
        assert_eq!(disk["identical"], true, "{disk}");
        assert!(
            disk["delta_bytes"].as_u64() <= disk["guest_wrote"].as_u64(),
            "{disk}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let devices = Command::new("losetup")
        .args(["--list", "--noheadings", "--output", "BACK-FILE"])
        .output()
        .unwrap();
    let devices = String::from_utf8(devices.stdout).unwrap();
    let own = folder.path().to_str().unwrap();
    assert!(!devices.contains(own), "{devices}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_survives_a_restart_and_a_lost_index() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[1 << 20]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    node.stop();
    for name in ["exporter.db", "exporter.db-wal", "exporter.db-shm"] {
        let _ = std::fs::remove_file(node.path(name));
    }
    node.start();
    let client = node.client().await;
    let found = client
        .snapshot(&machine.id, snapshot.id, None)
        .await
        .unwrap();
    assert_eq!(found, snapshot);
    client
        .delete_snapshot(&machine.id, snapshot.id)
        .await
        .unwrap();
    assert!(
        node.snapshot_files().is_empty(),
        "{:?}",
        node.snapshot_files()
    );
}
