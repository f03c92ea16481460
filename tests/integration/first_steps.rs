//! The whole way through, as short as it can be: the demo, and a node that restarts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

#[test]
fn the_lines_that_the_demo_prints_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"))
        .args(["demo", "--keep", "--seed", "8"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(demo.stdout.take().unwrap());
    let lines = printed.lines().map(Result::unwrap);
    let script: Vec<String> = lines
        .skip_while(|line| !line.starts_with("API="))
        .take_while(|line| !line.is_empty())
        .collect();
    let place = tempfile::tempdir().unwrap();
    let tried = Command::new("sh")
        .args(["-e", "-c", &script.join("\n")])
        .current_dir(place.path())
        .output()
        .unwrap();
    let id = i32::try_from(demo.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    demo.wait().unwrap();
    let said = String::from_utf8_lossy(&tried.stdout);
    assert!(
        tried.status.success(),
        "{script:#?}\n{said}\n{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    for part in ["web server", "\"chunks\":", "full", "incremental"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(place.path().join("replica").is_dir());
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

/// What an admin tries first. Everything fails, so everything is still there.
#[tokio::test(flavor = "multi_thread")]
async fn rm_rf_of_a_snapshot_removes_nothing_and_it_can_be_deleted_still() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let machine = node.machine(0, 1, &[1 << 20]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    let folder = snapshot.disks[0].path.parent().unwrap().to_owned();
    let removed = Command::new("rm").arg("-rf").arg(&folder).output().unwrap();
    assert!(!removed.status.success());
    let found = client.snapshot(&machine.id, snapshot.id, None).await;
    assert_eq!(found.unwrap(), snapshot);
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

/// 400 would tell an orchestrator that the machine can never be snapshotted.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_repository_is_not_mounted_is_to_be_tried_again() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let disk = node.repositories[1].path().join("VirtualDisks/b.img");
    std::fs::write(&disk, [1; 4096]).unwrap();
    let vm = "0004fb00000600000000000000000009";
    let config = format!("name = '{vm}'\ndisk = ['file:{},xvda,w']\n", disk.display());
    node.vm_cfg(0, vm, &config);
    let client = node.client().await;
    assert!(client.vm(vm).await.unwrap().snapshot_compatible);
    let mount = node.repositories[1].ground.mount().unwrap();
    mount.unmount().unwrap();
    let refused = client.create_snapshot(vm).await.unwrap_err().to_string();
    assert!(
        refused.contains("503") && refused.contains("nothing is mounted"),
        "{refused}"
    );
    let shown = client.vm(vm).await.unwrap();
    assert!(!shown.snapshot_compatible);
    assert!(
        shown
            .warnings
            .iter()
            .any(|warning| warning.contains("xvda")),
        "{shown:?}"
    );
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    client.create_snapshot(vm).await.unwrap();
}

/// A link would be cloned from wherever it leads, or fail in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_leads_out_of_its_repository_is_refused() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let link = node.repositories[0].path().join("VirtualDisks/link.img");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let vm = "0004fb00000600000000000000000009";
    let config = format!("name = '{vm}'\ndisk = ['file:{},xvda,w']\n", link.display());
    node.vm_cfg(0, vm, &config);
    let client = node.client().await;
    assert!(!client.vm(vm).await.unwrap().snapshot_compatible);
    let refused = client.create_snapshot(vm).await.unwrap_err().to_string();
    assert!(
        refused.contains("400") && refused.contains("symbolic link"),
        "{refused}"
    );
    assert!(node.snapshot_files().is_empty());
}
