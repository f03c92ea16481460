//! The same life with a client in Python that has nothing but the standard library.

use std::path::Path;
use std::process::Command;

use coriolis_ovm_exporter::operations::demo::machines::Machine;

use super::first_generation::Snapshot;
use super::{SIZES, assert_identical, assert_layout, guests, seeded};
use crate::support::counts::count;
use crate::support::node::{Kind, PASSWORD, TestNode, USER};

#[tokio::test(flavor = "multi_thread")]
async fn python_on_xfs() {
    a_whole_life(Kind::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_on_btrfs() {
    a_whole_life(Kind::Btrfs).await;
}

async fn a_whole_life(kind: Kind) {
    let mut random = seeded();
    let node = TestNode::new(&[kind]).await;
    let machine = node.machine(0, 1, &SIZES);
    guests::install(&machine, &mut random);
    let replicas = tempfile::tempdir().unwrap();
    let mut base = run(&node, &machine, "full", replicas.path(), "");
    assert_layout(&node, &machine.disks, &base);
    assert_identical(&base, replicas.path());
    for _ in 0..count(2, 20) {
        guests::work(&machine, &mut random);
        let next = run(&node, &machine, "incremental", replicas.path(), &base.id);
        assert_layout(&node, &machine.disks, &next);
        assert_identical(&next, replicas.path());
        base = next;
    }
    assert!(!node.snapshot_files().is_empty());
    run(&node, &machine, "clean", replicas.path(), &base.id);
    assert_eq!(node.snapshot_files(), Vec::<std::path::PathBuf>::new());
}

/// Runs a step of `old_client.py`, which prints the snapshot that it worked with.
fn run(node: &TestNode, machine: &Machine, step: &str, folder: &Path, base: &str) -> Snapshot {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/old_client.py");
    let output = Command::new("python3")
        .arg(script)
        .args([step, &machine.id])
        .arg(folder)
        .arg(base)
        .env("OVM_EXPORTER_ENDPOINT", node.endpoint())
        .env("OVM_EXPORTER_USERNAME", USER)
        .env("OVM_EXPORTER_PASSWORD", PASSWORD)
        .env("OVM_EXPORTER_CAFILE", node.path("ca-pub.pem"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 cannot be started: install the package python3");
    assert!(
        output.status.success(),
        "{step}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
