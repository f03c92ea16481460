//! Every disk is listed, and what stands in a snapshot's way is said.

use std::fs;

use super::{by_device, config, disk_file};
use crate::support::digest;
use crate::support::node::{Kind, TestNode};

const ID: &str = "0004fb0000060000ccaf98a0baa2c186";

#[tokio::test(flavor = "multi_thread")]
async fn disks_in_several_repositories_make_one_snapshot() {
    let node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let one = disk_file(&node, 0, "VirtualDisks/one.img", 8192, 1);
    let two = disk_file(&node, 1, "VirtualDisks/two.img", 4096, 2);
    // Its vm.cfg lies with one of them, with the other, and with neither.
    let both = [format!("file:{one},xvda,w"), format!("file:{two},xvdb,w!")];
    node.vm_cfg(0, ID, &config(ID, &both));
    node.vm_cfg(1, "away", &config("away", &both[..1]));
    let client = node.client().await;
    for (id, disks) in [(ID, 2), ("away", 1)] {
        let vm = client.vm(id).await.unwrap();
        assert!(vm.snapshot_compatible, "{vm:#?}");
        let snapshot = client.create_snapshot(id).await.unwrap();
        assert_eq!(snapshot.disks.len(), disks);
        for disk in &snapshot.disks {
            let home = node
                .repositories
                .iter()
                .map(|found| found.path())
                .find(|home| disk.parent_path.starts_with(home))
                .unwrap();
            assert_eq!(disk.repo_mountpoint, home);
            assert_eq!(
                disk.path,
                home.join("CoriolisSnapshots")
                    .join(snapshot.id.to_string())
                    .join(&disk.name)
            );
            assert_eq!(
                digest::of_download(&client, &snapshot, disk).await.unwrap(),
                digest::of_file(&disk.parent_path)
            );
        }
        client.delete_snapshot(id, snapshot.id).await.unwrap();
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lun_is_listed_and_stands_in_the_way() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 4096, 1);
    let disks = [
        format!("file:{disk},xvda,w"),
        "phy:/dev/mapper/3600a0b80,xvdc,w!".to_owned(),
    ];
    node.vm_cfg(0, ID, &config(ID, &disks));
    let client = node.client().await;
    let vm = client.vm(ID).await.unwrap();
    assert_eq!(vm.disks.len(), 2);
    assert!(!vm.snapshot_compatible);
    assert!(by_device(&vm, "xvda").snapshot_compatible);
    let lun = by_device(&vm, "xvdc");
    assert!(!lun.snapshot_compatible);
    assert_eq!(
        (lun.path.as_str(), lun.mode.as_str()),
        ("/dev/mapper/3600a0b80", "w!")
    );
    assert!(lun.reason.as_ref().unwrap().contains("LUN"), "{lun:#?}");
    let refused = client.create_snapshot(ID).await.unwrap_err().to_string();
    assert!(
        refused.contains("400") && refused.contains("xvdc"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_entries_are_read_and_copied() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let file = |name: &str, byte| disk_file(&node, 0, &format!("VirtualDisks/{name}"), 4096, byte);
    let disks = [
        format!("file:{},xvda,w,dom0", file("four-fields.img", 1)),
        format!("file://{},xvdb,w!", file("slashes.img", 2)),
        format!("file:{},xvdc,w", file("a, comma and = sign.img", 3)),
        format!("file:{},xvdd,r", file("read-only.img", 4)),
    ];
    node.vm_cfg(0, ID, &config(ID, &disks));
    let client = node.client().await;
    let vm = client.vm(ID).await.unwrap();
    assert_eq!(vm.disks.len(), 4);
    assert!(vm.snapshot_compatible, "{vm:#?}");
    assert_eq!(by_device(&vm, "xvdb").mode, "w!");
    let snapshot = client.create_snapshot(ID).await.unwrap();
    assert_eq!(snapshot.disks.len(), 4, "{snapshot:#?}");
    for (disk, byte) in snapshot.disks.iter().zip(1..) {
        let body = client
            .read(ID, snapshot.id, &disk.name, 0, 4096)
            .await
            .unwrap();
        assert_eq!(body.bytes().await.unwrap(), vec![byte; 4096], "{disk:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cd_neither_blocks_nor_joins_a_snapshot() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 4096, 1);
    let iso = disk_file(&node, 0, "ISOs/a.iso", 4096, 2);
    let disks = [
        format!("file:{disk},xvda,w"),
        format!("file:{iso},xvdb:cdrom,r"),
        "file:/not/in/any/repository.iso,xvdc:cdrom,r".to_owned(),
        "phy:/dev/sr0,hdc:cdrom,r".to_owned(),
        ",hdd:cdrom,r".to_owned(),
    ];
    node.vm_cfg(0, ID, &config(ID, &disks));
    let client = node.client().await;
    let vm = client.vm(ID).await.unwrap();
    assert_eq!(vm.disks.len(), 5, "{vm:#?}");
    assert_eq!(vm.disks.iter().filter(|disk| disk.cdrom).count(), 4);
    assert!(vm.snapshot_compatible, "{vm:#?}");
    let snapshot = client.create_snapshot(ID).await.unwrap();
    assert_eq!(snapshot.disks.len(), 1);
    // One that the guest can write is a disk like any other.
    node.vm_cfg(
        0,
        "burner",
        &config(
            "burner",
            &[format!("file:{iso},xvdb:cdrom,w"), disks[0].clone()],
        ),
    );
    let snapshot = client.create_snapshot("burner").await.unwrap();
    assert_eq!(snapshot.disks.len(), 2);
    // A machine with nothing but CDs has nothing to copy.
    node.vm_cfg(0, "live", &config("live", &disks[1..]));
    assert!(!client.vm("live").await.unwrap().snapshot_compatible);
    let refused = client
        .create_snapshot("live")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("400") && refused.contains("no disk to copy"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_folder_with_the_same_prefix_is_not_the_repository() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let root = node.repositories[0].path();
    let sibling = root.with_file_name("repository-old");
    fs::create_dir(&sibling).unwrap();
    let path = sibling.join("a.img").display().to_string();
    fs::write(&path, "x").unwrap();
    node.vm_cfg(0, ID, &config(ID, &[format!("file:{path},xvda,w")]));
    let client = node.client().await;
    let vm = client.vm(ID).await.unwrap();
    assert!(!vm.snapshot_compatible);
    let reason = vm.disks[0].reason.as_ref().unwrap();
    assert!(reason.contains("no repository"), "{reason}");
    let refused = client.create_snapshot(ID).await.unwrap_err().to_string();
    assert!(
        refused.contains("400") && refused.contains(&path),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_missing_or_no_file_stands_in_the_way() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let root = node.repositories[0].path();
    let missing = root.join("VirtualDisks/missing.img").display().to_string();
    let folder = root.join("VirtualDisks/folder.img");
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.display().to_string();
    let disks = [
        format!("file:{missing},xvda,w"),
        format!("file:{folder},xvdb,w"),
    ];
    node.vm_cfg(0, ID, &config(ID, &disks));
    let client = node.client().await;
    let vm = client.vm(ID).await.unwrap();
    assert!(!vm.snapshot_compatible);
    for disk in &vm.disks {
        assert_eq!(disk.size, None);
        assert!(
            disk.reason.as_ref().unwrap().contains(&disk.path),
            "{disk:#?}"
        );
    }
    let refused = client.create_snapshot(ID).await.unwrap_err().to_string();
    assert!(
        refused.contains("xvda") && refused.contains("xvdb"),
        "{refused}"
    );
}

/// Three disks, two of which have one base name.
fn namesakes(node: &TestNode) -> [String; 3] {
    [
        disk_file(node, 0, "VirtualDisks/a/System.img", 8192, 1),
        disk_file(node, 0, "VirtualDisks/b/System.img", 12288, 2),
        disk_file(node, 0, "VirtualDisks/data.img", 4096, 3),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_with_one_base_name_are_told_apart_whatever_their_order() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let paths = namesakes(&node);
    let in_order = |order: [usize; 3]| {
        let disks: Vec<String> = order
            .iter()
            .zip(["xvda", "xvdb", "xvdc"])
            .map(|(at, device)| format!("file:{},{device},w", paths[*at]))
            .collect();
        node.vm_cfg(0, ID, &config(ID, &disks));
    };
    in_order([0, 1, 2]);
    let client = node.client().await;
    let first = client.create_snapshot(ID).await.unwrap();
    in_order([2, 1, 0]);
    fs::write(&paths[1], {
        let mut bytes = vec![2; 12288];
        bytes[4096..8192].fill(9);
        bytes
    })
    .unwrap();
    let vm = client.vm(ID).await.unwrap();
    let second = client.create_snapshot(ID).await.unwrap();
    let name = |snapshot: &coriolis_ovm_exporter::protocol::Snapshot, path: &str| {
        let mut found = snapshot
            .disks
            .iter()
            .filter(|disk| disk.parent_path.as_os_str() == path);
        let name = found.next().unwrap().name.clone();
        assert!(found.next().is_none());
        name
    };
    for path in &paths {
        assert_eq!(name(&first, path), name(&second, path));
        let listed = vm.disks.iter().find(|disk| disk.path == *path).unwrap();
        assert_eq!(listed.name, name(&first, path));
    }
    assert_ne!(name(&first, &paths[0]), name(&first, &paths[1]));
    assert_eq!(name(&first, &paths[2]), "data.img");
    for disk in &second.disks {
        assert_eq!(
            digest::of_download(&client, &second, disk).await.unwrap(),
            digest::of_file(&disk.parent_path),
            "{disk:#?}"
        );
    }
    let old = client
        .read(ID, first.id, &name(&first, &paths[1]), 0, 12288)
        .await
        .unwrap();
    assert_eq!(old.bytes().await.unwrap(), vec![2; 12288]);

    // Paired by path, not by place: nothing but the one that was written has changed.
    let changes = client
        .snapshot(ID, second.id, Some(first.id))
        .await
        .unwrap();
    for disk in &changes.disks {
        assert_eq!(disk.base, Some(Some(first.id)));
        let is_written = disk.parent_path.as_os_str() == paths[1].as_str();
        assert_eq!(!disk.chunks.is_empty(), is_written, "{disk:#?}");
    }
}
