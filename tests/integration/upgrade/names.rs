//! Without a record, a folder belongs to a machine only if no other could have it.

use std::fs;
use std::path::{Path, PathBuf};

use super::node::{Old, ids, leave_database, look, reason};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

const SIZE: u64 = 1 << 20;
const OFTEN: &str = "[snapshots]\nrecover_interval = \"1s\"\n";

fn configure(node: &TestNode, vm: &str, disks: &[&Path]) {
    let entries: Vec<String> = disks
        .iter()
        .zip('a'..)
        .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
        .collect();
    let text = format!(
        "name = '{vm}'\nuuid = '{vm}'\ndisk = [{}]\n",
        entries.join(", ")
    );
    node.vm_cfg(0, vm, &text);
}

fn disk(node: &TestNode, name: &str) -> PathBuf {
    let path = node.repositories[0].path().join("VirtualDisks").join(name);
    fs::write(&path, vec![7; 4096]).unwrap();
    path
}

async fn adopted(folder: &Path) {
    let manifest = folder.join("manifest.json");
    wait::until_nothing("it is adopted", || {
        (!manifest.exists()).then_some(folder).into_iter().collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_its_only_possible_owners() {
    let mut node = TestNode::prepare(&[Kind::Xfs], OFTEN).await;
    let vm = node.machine(0, 1, &[SIZE, SIZE]);
    for disk in &vm.disks {
        fs::write(disk, vec![7; 1 << 20]).unwrap();
    }
    let both: Vec<&Path> = vm.disks.iter().map(|path| path.as_path()).collect();
    let (shared, second) = (disk(&node, "shared.img"), disk(&node, "second.img"));
    configure(&node, "one", &[&shared]);
    configure(&node, "other", &[&shared, &second]);
    let alone = disk(&node, "alone.img");

    let olds = [(); 3].map(|()| Old::take(&vm.id, "", &both));
    let half = Old::take(&vm.id, "", &both[..1]);
    let shared = Old::take("one", "", &[&shared]);
    let nobodys = Old::take("nobody", "", &[&alone]);
    let hollow = Old::take(&vm.id, "", &both);
    fs::write(&hollow.disks[0].path, "").unwrap();
    let empty = node.repositories[0]
        .path()
        .join("CoriolisSnapshots/0d1e7c3a-52c1-4f0e-9b5b-0123456789ab");
    fs::create_dir(&empty).unwrap();
    // A machine whose disks nobody can tell may have any of these.
    node.vm_cfg(0, "broken", "disk = ['file:/x,xvda,w'\n");
    node.start();
    let api = Api::of(&node).await;
    for old in &olds {
        let found = reason(&api, &old.folder()).await.unwrap();
        assert!(found.contains("broken has cannot be read"), "{found}");
    }
    node.vm_cfg(0, "broken", "name = 'broken'\ndisk = []\n");
    for old in &olds {
        adopted(&old.folder()).await;
    }
    let wanted: Vec<String> = olds.iter().map(|old| old.id.to_string()).collect();
    assert_eq!(
        ids(&api, &vm.id).await,
        wanted,
        "in the order of their folders"
    );
    let list = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    for snapshot in list.as_array().unwrap() {
        let warning = text(&snapshot["warnings"][0]);
        assert!(warning.contains("names of its disks"), "{warning}");
    }
    for (folder, wanted) in [
        (half.folder(), "and also"),
        (shared.folder(), "one and other both have disks"),
        (nobodys.folder(), "no virtual machine has disks"),
        (hollow.folder(), "is empty"),
        (empty, "no disk in it"),
    ] {
        let found = reason(&api, &folder).await.unwrap();
        assert!(found.contains(wanted), "{wanted:?} is not in {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_database_leaves_the_names() {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[SIZE]);
    fs::write(&vm.disks[0], vec![7; 4096]).unwrap();
    let alone = disk(&node, "alone.img");
    let old = Old::take(&vm.id, "2021-05-04T03:02:01Z", &[&vm.disks[0]]);
    let lost = Old::take("gone", "2021-05-04T03:02:01Z", &[&alone]);
    leave_database(&node, &[&old, &lost]);
    let path = node.path("exporter.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * 4096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let before = look(&lost.folder());
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(ids(&api, &vm.id).await, [old.id.to_string()]);
    let found = reason(&api, &lost.folder()).await.unwrap();
    assert!(
        found.contains("no virtual machine has disks") && found.contains("exporter.db.first"),
        "{found}"
    );
    assert_eq!(look(&lost.folder()), before);
    let log = node.log();
    assert!(log.contains("a database of the first generation"), "{log}");
}
