//! Which machine a name means.

use super::{config, disk_file, named, some_has};
use crate::support::node::{Kind, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_found_by_id_by_name_and_by_uuid() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 4096, 1);
    let id = "0004fb0000060000ccaf98a0baa2c186";
    node.vm_cfg(
        0,
        id,
        &config("web.example.org", &[format!("file:{disk},xvda,w")]),
    );
    let uuid = "0004fb00-0006-0000-ccaf-98a0baa2c186";
    let client = node.client().await;
    let mut made = Vec::new();
    for name in [id, "web.example.org", uuid] {
        assert_eq!(client.vm(name).await.unwrap().id, id);
        let snapshot = client.create_snapshot(name).await.unwrap();
        assert_eq!(snapshot.vm_id, id);
        made.push(snapshot.id);
    }
    for name in [id, "web.example.org", uuid] {
        let listed = client.snapshots(name).await.unwrap();
        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), made);
        let shown = client.snapshot(name, made[1], Some(made[0])).await.unwrap();
        assert_eq!(shown.id, made[1]);
        let body = client.read(name, made[0], "a.img", 0, 4096).await.unwrap();
        assert_eq!(body.bytes().await.unwrap(), vec![1; 4096]);
        assert_eq!(client.vm(name).await.unwrap().snapshots, made);
    }
    client
        .delete_snapshot("web.example.org", made[0])
        .await
        .unwrap();
    client.delete_snapshot(uuid, made[1]).await.unwrap();
    assert_eq!(client.vm(id).await.unwrap().snapshots, made[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_vms_have_means_neither() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 4096, 1);
    for id in ["one", "two"] {
        node.vm_cfg(0, id, &config("twin", &[format!("file:{disk},xvda,w")]));
    }
    let client = node.client().await;
    for id in ["one", "two"] {
        assert_eq!(client.vm(id).await.unwrap().id, id);
    }
    let error = client.vm("twin").await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    let error = client
        .create_snapshot("twin")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("404"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_two_repositories_is_ambiguous() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs, Kind::Xfs]).await;
    let id = "0004fb0000060000ccaf98a0baa2c186";
    for repository in 0..3 {
        let disk = disk_file(&node, repository, "VirtualDisks/a.img", 4096, 1);
        node.vm_cfg(
            repository,
            id,
            &config(id, &[format!("file:{disk},xvda,w")]),
        );
    }
    let good = node.machine(0, 7, &[1 << 20]);
    let client = node.client().await;
    let vms = client.vms().await.unwrap();
    assert_eq!(vms.len(), 4);
    assert!(named(&vms, &good.id).snapshot_compatible);
    let both = [
        node.repositories[0].id.as_str(),
        node.repositories[1].id.as_str(),
    ];
    for vm in vms.iter().filter(|vm| vm.id == id) {
        assert!(!vm.snapshot_compatible, "{vm:#?}");
        assert!(some_has(&vm.warnings, &["both hold"]), "{vm:#?}");
    }
    let shown = client.vm(id).await.unwrap();
    assert!(!shown.snapshot_compatible);
    assert!(some_has(&shown.warnings, &both), "{shown:#?}");
    let refused = client.create_snapshot(id).await.unwrap_err().to_string();
    assert!(refused.contains("400"), "{refused}");
    assert!(both.iter().all(|id| refused.contains(id)), "{refused}");
    let warnings = client.node().await.unwrap().warnings;
    assert!(some_has(&warnings, &both), "{warnings:#?}");
}
