//! One bad thing never hides another, and is named: in the machine's warnings, in `/node`, and in
//! the log.

use std::fs;
use std::process::{Command, Stdio};

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::ovm::agent::AgentRepository;
use coriolis_ovm_exporter::protocol::Reflink;
use nix::sys::stat::Mode;

use super::{named, some_has};
use crate::support::node::{Kind, TestNode};

/// Asserts that the good machine is there and can be snapshotted, whatever else is wrong.
async fn the_good_machine_works(client: &Client, id: &str) {
    let vms = client.vms().await.unwrap();
    let good = named(&vms, id);
    assert!(good.snapshot_compatible, "{good:#?}");
    assert!(good.warnings.is_empty(), "{:#?}", good.warnings);
    let snapshot = client.create_snapshot(id).await.unwrap();
    assert_eq!(snapshot.disks.len(), 1);
    client.delete_snapshot(id, snapshot.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_vm_cfg_is_named_and_hides_nothing() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let good = node.machine(0, 1, &[1 << 20]);
    node.vm_cfg(0, "broken", "disk = [ 'file:/x,xvda,w\n((((");
    node.vm_cfg(0, "empty", "");
    let machines = node.repositories[0].path().join("VirtualMachines");
    fs::create_dir(machines.join("pipe")).unwrap();
    nix::unistd::mkfifo(&machines.join("pipe/vm.cfg"), Mode::S_IRWXU).unwrap();
    fs::create_dir(machines.join("bare")).unwrap();
    fs::create_dir_all(machines.join("folder/vm.cfg")).unwrap();
    std::os::unix::fs::symlink("/nowhere", machines.join("folder-less")).unwrap();
    fs::create_dir(machines.join("dangling")).unwrap();
    std::os::unix::fs::symlink("/nowhere", machines.join("dangling/vm.cfg")).unwrap();
    fs::write(machines.join("a file"), "").unwrap();

    let client = node.client().await;
    the_good_machine_works(&client, &good.id).await;
    let vms = client.vms().await.unwrap();
    let ids: Vec<&str> = vms.iter().map(|vm| vm.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            good.id.as_str(),
            "broken",
            "dangling",
            "empty",
            "folder",
            "pipe"
        ]
    );
    let warnings = client.node().await.unwrap().warnings;
    let log = node.log();
    for (id, why) in [
        ("broken", "vm.cfg"),
        ("empty", "disk"),
        ("pipe", "regular file"),
        ("folder", "regular file"),
        ("dangling", "No such file"),
    ] {
        let vm = named(&vms, id);
        assert!(!vm.snapshot_compatible, "{vm:#?}");
        assert!(some_has(&vm.warnings, &[why]), "{vm:#?}");
        assert!(some_has(&warnings, &[id, why]), "{id}: {warnings:#?}");
        let line = log.lines().find(|line| {
            line.contains("WARN")
                && line.contains(id)
                && vm.warnings.iter().any(|w| line.contains(w))
        });
        assert!(line.is_some(), "the log does not name {id}:\n{log}");
        let shown = client.vm(id).await.unwrap();
        assert_eq!(&shown, vm);
        let refused = client.create_snapshot(id).await.unwrap_err().to_string();
        assert!(
            refused.contains("400") && refused.contains(why),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_that_stands_is_logged_once_and_again_when_it_comes_back() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    node.vm_cfg(0, "broken", "((((");
    let client = node.client().await;
    let times = || {
        let log = node.log();
        let lines = log.lines();
        lines
            .filter(|line| line.contains("WARN") && line.contains("broken: vm.cfg line 1"))
            .count()
    };
    for _ in 0..10 {
        client.vms().await.unwrap();
        client.node().await.unwrap();
    }
    assert_eq!(times(), 1, "{}", node.log());
    node.vm_cfg(0, "broken", "name = 'x'\nuuid = 'y'\ndisk = []\n");
    client.vms().await.unwrap();
    node.vm_cfg(0, "broken", "((((");
    client.vms().await.unwrap();
    assert_eq!(times(), 2, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_mounted_is_named_and_hides_nothing() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let good = node.machine(0, 1, &[1 << 20]);
    let away = node.machine(1, 2, &[1 << 20]);
    let absent = AgentRepository {
        id: "0004fb00000300000000000000000abc".to_owned(),
        mount_point: Some(node.path("never-there")),
        ..AgentRepository::default()
    };
    node.write_databases(std::slice::from_ref(&absent));
    let client = node.client().await;
    let kept = client.create_snapshot(&away.id).await.unwrap();
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();

    the_good_machine_works(&client, &good.id).await;
    let vms = client.vms().await.unwrap();
    assert_eq!(vms.len(), 1, "{vms:#?}");
    let said = client.node().await.unwrap();
    assert_eq!(said.repositories.len(), 3);
    for id in [&absent.id, &node.repositories[1].id] {
        let repository = said
            .repositories
            .iter()
            .find(|found| found.id == *id)
            .unwrap();
        assert_eq!(repository.state, "missing");
        assert!(repository.reason.is_some());
        assert_eq!(repository.reflink, Reflink::Unknown);
        assert!(repository.reflink_reason.is_some());
        assert_eq!(repository.free_bytes, None);
        let point = repository.mount_point.display().to_string();
        assert!(some_has(&said.warnings, &[id, &point]), "{said:#?}");
        let log = node.log();
        assert!(
            log.lines().any(|line| line.contains("WARN")
                && line.contains(id.as_str())
                && line.contains(&point)),
            "{log}"
        );
    }
    assert!(
        some_has(&said.warnings, &[&kept.id.to_string()]),
        "{said:#?}"
    );

    // Back again, it is as it was.
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    let client = node.client().await;
    assert_eq!(client.vms().await.unwrap().len(), 2);
    assert_eq!(client.snapshots(&away.id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_record_is_named_and_hides_nothing() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let good = node.machine(0, 1, &[1 << 20]);
    let torn = "0004fb0000030000000000000000dead";
    for (id, value) in [
        (torn, "(dp0\nS'alias'\np1\nS'cut of"),
        ("0004fb0000030000000000000000beef", "I42\n."),
    ] {
        add_record(&node, id, value.as_bytes());
    }
    let client = node.client().await;
    the_good_machine_works(&client, &good.id).await;
    let said = client.node().await.unwrap();
    assert!(
        said.repositories
            .iter()
            .any(|found| found.id == node.repositories[0].id && found.state == "mounted")
    );
    let log = node.log();
    for id in [torn, "0004fb0000030000000000000000beef"] {
        assert!(some_has(&said.warnings, &[id]), "{said:#?}");
        assert!(
            log.lines()
                .any(|line| line.contains("WARN") && line.contains(id)),
            "{log}"
        );
    }
}

/// Adds a record to the agent's list of repositories with the real libdb.
fn add_record(node: &TestNode, key: &str, value: &[u8]) {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let dump = format!(
        "VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n {}\n {}\nDATA=END\n",
        hex(key.as_bytes()),
        hex(value)
    );
    let mut child = Command::new("db5.3_load")
        .arg(node.path("agent-db").join("repository"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), dump.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_damaged_database_is_named_and_comes_back() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let good = node.machine(0, 1, &[1 << 20]);
    let client = node.client().await;
    let kept = client.create_snapshot(&good.id).await.unwrap();
    let folder = node.path("agent-db");
    let aside = node.path("aside");
    let named_everywhere = async |what: &str| {
        assert!(client.vms().await.unwrap().is_empty(), "{what}");
        let said = client.node().await.unwrap();
        let file = folder.join("repository").display().to_string();
        assert!(some_has(&said.warnings, &[&file]), "{what}: {said:#?}");
        let log = node.log();
        assert!(
            log.lines()
                .any(|line| line.contains("WARN") && line.contains(&file)),
            "{what}: {log}"
        );
        let error = client.vm(&good.id).await.unwrap_err().to_string();
        assert!(error.contains("404"), "{what}: {error}");
    };
    fs::rename(&folder, &aside).unwrap();
    named_everywhere("no folder").await;
    fs::create_dir(&folder).unwrap();
    named_everywhere("no file").await;
    fs::write(folder.join("repository"), "not a database").unwrap();
    named_everywhere("garbage").await;
    fs::write(folder.join("repository"), "").unwrap();
    named_everywhere("empty").await;

    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    let vm = client.vm(&good.id).await.unwrap();
    assert_eq!(vm.snapshots, [kept.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_without_the_agents_databases() {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let good = node.machine(0, 1, &[1 << 20]);
    fs::remove_dir_all(node.path("agent-db")).unwrap();
    node.start();
    let client = node.client().await;
    assert!(client.vms().await.unwrap().is_empty());
    assert!(!client.node().await.unwrap().warnings.is_empty());
    node.write_databases(&[]);
    the_good_machine_works(&client, &good.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_repository_can_clone_is_tried() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Btrfs, Kind::Ext4]).await;
    node.machine(0, 1, &[1 << 20]);
    let stuck = node.machine(2, 3, &[1 << 20]);
    let client = node.client().await;
    let said = client.node().await.unwrap();
    assert!(
        said.warnings
            .iter()
            .all(|warning| warning.contains("/bin/false")),
        "{said:#?}"
    );
    for (at, (kind, file_system)) in [
        (Reflink::Yes, "xfs"),
        (Reflink::Yes, "btrfs"),
        (Reflink::No, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let repository = &said.repositories[at];
        assert_eq!(repository.id, node.repositories[at].id);
        assert_eq!(
            repository.alias,
            Some(format!("alias of {}", repository.id))
        );
        assert_eq!(repository.mount_point, node.repositories[at].path());
        assert_eq!(repository.reflink, kind, "{repository:#?}");
        assert_eq!(repository.state, "mounted");
        assert!(repository.free_bytes.unwrap() > 1 << 30);
        assert!(repository.total_bytes >= repository.free_bytes);
        let name = repository.file_system.clone().unwrap().to_lowercase();
        assert!(name.contains(file_system), "{name}");
    }
    let reason = said.repositories[2].reflink_reason.clone().unwrap();
    assert!(reason.contains("FICLONE"), "{reason}");
    let vm = client.vm(&stuck.id).await.unwrap();
    assert!(!vm.snapshot_compatible);
    let disk = super::by_device(&vm, "xvda");
    assert!(!disk.snapshot_compatible);
    assert!(
        disk.reason.as_ref().unwrap().contains("FICLONE"),
        "{disk:#?}"
    );
    let refused = client
        .create_snapshot(&stuck.id)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("400") && refused.contains("FICLONE"),
        "{refused}"
    );
    // A trial leaves nothing.
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );

    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();
    let said = client.node().await.unwrap();
    assert_eq!(said.repositories[1].reflink, Reflink::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_read_only_is_unknown_until_it_is_not() {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let machine = node.machine(0, 1, &[1 << 20]);
    remount(&node, "ro");
    node.start();
    let client = node.client().await;
    let repository = client.node().await.unwrap().repositories.remove(0);
    assert_eq!(repository.reflink, Reflink::Unknown);
    let reason = repository.reflink_reason.unwrap();
    assert!(reason.to_lowercase().contains("read-only"), "{reason}");
    let vm = client.vm(&machine.id).await.unwrap();
    assert!(!vm.snapshot_compatible);
    remount(&node, "rw");
    let repository = client.node().await.unwrap().repositories.remove(0);
    assert_eq!(repository.reflink, Reflink::Yes);
    assert!(client.vm(&machine.id).await.unwrap().snapshot_compatible);
}

fn remount(node: &TestNode, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(node.repositories[0].path())
        .status();
    assert!(status.unwrap().success());
}
