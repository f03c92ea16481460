//! A snapshot that the first generation made is one like any other.

use std::fs;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use reqwest::Method;
use serde_json::Value;

use super::node::{Old, ids, leave_database, nothing_left, random, reason, scribble};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

const MIB: u64 = 1 << 20;

/// Applies a comparison's chunks to the base's bytes, fetching each. Gives the bytes named.
async fn apply(api: &Api, compared: &Value, replica: &mut [u8]) -> u64 {
    let (vm, id) = (text(&compared["vm_id"]), text(&compared["id"]));
    let disk = &compared["disks"][0];
    assert_eq!(disk["method"], "extents", "{disk}");
    let mut named = 0;
    for chunk in disk["chunks"].as_array().unwrap() {
        let start = usize::try_from(chunk["start"].as_u64().unwrap()).unwrap();
        let length = usize::try_from(chunk["length"].as_u64().unwrap()).unwrap();
        let range = format!("bytes={start}-{}", start + length - 1);
        let path = format!("/vms/{vm}/snapshots/{id}/disks/{}", text(&disk["name"]));
        let answer = api.send(Method::GET, &path, &[("range", &range)]).await;
        assert_eq!(answer.status, 206, "{answer:?}");
        replica[start..start + length].copy_from_slice(&answer.body);
        named += length as u64;
    }
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_order_and_increments_survive_the_upgrade_on_xfs() {
    survive(Kind::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_order_and_increments_survive_the_upgrade_on_btrfs() {
    survive(Kind::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_order_and_increments_survive_the_upgrade_on_btrfs_in_other_ways() {
    survive(Kind::BtrfsNocow).await;
    survive(Kind::BtrfsCompressed).await;
}

async fn survive(kind: Kind) {
    let mut random = random();
    let mut node = TestNode::prepare(&[kind], "").await;
    let vm = node.machine(0, 1, &[16 * MIB]);
    let disk = vm.disks[0].clone();
    scribble(&disk, &mut random, 0, 16 << 20);
    // Its ids are in no order, its clocks are.
    let mut olds = Vec::new();
    for minute in [10, 11, 12] {
        let time = format!("2021-05-04T03:{minute}:01.123456789Z");
        olds.push(Old::take(&vm.id, &time, &[&disk]));
        scribble(&disk, &mut random, (minute - 9) * 3 * MIB, 8192);
    }
    let bytes: Vec<Vec<u8>> = olds
        .iter()
        .map(|old| fs::read(&old.disks[0].path).unwrap())
        .collect();
    leave_database(&node, &olds.iter().collect::<Vec<_>>());
    let former = fs::read(node.path("exporter.db")).unwrap();
    node.start();

    let api = Api::of(&node).await;
    let wanted: Vec<String> = olds.iter().map(|old| old.id.to_string()).collect();
    assert_eq!(ids(&api, &vm.id).await, wanted, "{kind:?}");
    for old in &olds {
        assert_eq!(reason(&api, &old.folder()).await, None);
    }
    assert_eq!(
        fs::read(node.path("exporter.db.first-generation")).unwrap(),
        former
    );
    let list = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    for (old, snapshot) in olds.iter().zip(list.as_array().unwrap()) {
        assert_eq!(snapshot["adopted"], true);
        assert_eq!(text(&snapshot["created_at"]), old.created_at);
        assert_eq!(snapshot["disks"][0]["sealed"], true);
        assert_eq!(snapshot["warnings"], serde_json::json!([]));
        assert_eq!(snapshot["disks"][0]["parent_path"], disk.to_str().unwrap());
        assert!(
            fs::File::options()
                .write(true)
                .open(&old.disks[0].path)
                .is_err()
        );
    }

    // The next increment is made over the last snapshot that a client of the first generation has.
    scribble(&disk, &mut random, 5 * MIB, 4096);
    let next = api.snapshot(&vm.id).await;
    let now = fs::read(text(&next["disks"][0]["path"])).unwrap();
    assert_eq!(now, fs::read(&disk).unwrap());
    for (at, old) in olds.iter().enumerate() {
        let base = serde_json::json!({"id": old.id});
        let compared = api.compare(&vm.id, &next, &base).await;
        let mut replica = bytes[at].clone();
        let named = apply(&api, &compared, &mut replica).await;
        assert!(replica == now, "{kind:?}, base {at}: the replica differs");
        let written = 4096 + 8192 * (olds.len() - at) as u64;
        // In a compressed extent it may be compared by blocks, which finds chance equalities.
        assert!(
            named <= written && named + 4096 >= written,
            "{kind:?}, base {at}: {named} named for {written} written"
        );
    }
    // Between two that were adopted, and the wrong way round.
    let newer = serde_json::json!({"id": olds[2].id});
    let older = serde_json::json!({"id": olds[0].id});
    let compared = api.compare(&vm.id, &newer, &older).await;
    let mut replica = bytes[0].clone();
    let named = apply(&api, &compared, &mut replica).await;
    assert!(
        replica == bytes[2] && named <= 2 * 8192,
        "{kind:?}: {named}"
    );
    let path = format!(
        "/vms/{}/snapshots/{}?compareTo={}",
        vm.id, olds[0].id, olds[2].id
    );
    api.get(&path).await.error(400);

    // Known to the index after a restart, and deleted as any.
    node.stop();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(ids(&api, &vm.id).await[..3], wanted);
    let path = format!("/vms/{}/snapshots/{}", vm.id, wanted[1]);
    assert_eq!(api.delete(&path).await.status, 200);
    assert!(!olds[1].folder().exists());
    let path = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(api.delete(&path).await.status, 200);
    nothing_left(&node);
}

/// A machine with a disk in each of two repositories.
fn spread(node: &TestNode) -> Machine {
    let mut vm = node.machine(0, 1, &[MIB]);
    let second = node.repositories[1].path().join("VirtualDisks/second.img");
    fs::write(&second, vec![7; 1 << 20]).unwrap();
    let text = format!(
        "name = '{0}'\nuuid = '{0}'\ndisk = ['file:{1},xvda,w', 'file:{2},xvdb,w']\n",
        vm.id,
        vm.disks[0].display(),
        second.display()
    );
    node.vm_cfg(0, &vm.id, &text);
    vm.disks.push(second);
    vm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_two_repositories_has_a_manifest_in_each() {
    let mut random = random();
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Btrfs], "").await;
    let vm = spread(&node);
    scribble(&vm.disks[0], &mut random, 0, 1 << 20);
    let disks: Vec<&Path> = vm.disks.iter().map(|path| path.as_path()).collect();
    let old = Old::take(&vm.id, "2021-05-04T03:02:01Z", &disks);
    leave_database(&node, &[&old]);
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(ids(&api, &vm.id).await, [old.id.to_string()]);
    let copies: Vec<Vec<u8>> = old
        .disks
        .iter()
        .map(|disk| fs::read(disk.path.with_file_name("manifest.json")).unwrap())
        .collect();
    assert!(copies.len() == 2 && copies[0] == copies[1]);
    let path = format!("/vms/{}/snapshots/{}", vm.id, old.id);
    assert_eq!(api.delete(&path).await.status, 200);
    nothing_left(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_comes_later_is_adopted_then() {
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], more).await;
    let vm = spread(&node);
    let disks: Vec<&Path> = vm.disks.iter().map(|path| path.as_path()).collect();
    let whole = Old::take(&vm.id, "2021-05-04T03:02:01Z", &disks);
    let half = Old::take(&vm.id, "2021-05-04T03:02:02Z", &disks[1..]);
    leave_database(&node, &[&half, &whole]);
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();
    node.start();
    let api = Api::of(&node).await;
    let waits = reason(&api, &whole.folder()).await.unwrap();
    assert!(waits.contains("is not mounted"), "{waits}");
    assert_eq!(ids(&api, &vm.id).await, [""; 0]);
    // Who asks for one is told to wait, not that it is gone: he would copy everything again.
    for old in [&whole, &half] {
        let path = format!("/vms/{}/snapshots/{}", vm.id, old.id);
        let (_, details) = api.get(&path).await.error(503);
        assert!(details.contains("not mounted"), "{details}");
        api.delete(&path).await.error(503);
    }
    let gone = format!("/vms/{}/snapshots/{}", vm.id, uuid::Uuid::new_v4());
    api.get(&gone).await.error(404);
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    let (first, second) = (whole.folder(), half.folder());
    wait::until_nothing("both are adopted", || {
        [&first, &second]
            .into_iter()
            .filter(|folder| !folder.join("manifest.json").exists())
            .collect()
    })
    .await;
    let wanted = [whole.id.to_string(), half.id.to_string()];
    assert_eq!(ids(&api, &vm.id).await, wanted);
}

/// Its database is locked for as long as it runs: what it may still change is not read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_adopted_while_the_first_generation_runs() {
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let mut node = TestNode::prepare(&[Kind::Xfs], more).await;
    let vm = node.machine(0, 1, &[MIB]);
    let old = Old::take(&vm.id, "2021-05-04T03:02:01Z", &[&vm.disks[0]]);
    leave_database(&node, &[&old]);
    let file = fs::File::open(node.path("exporter.db")).unwrap();
    let lock = coriolis_ovm_exporter::sys::flock::Flock::try_exclusive(file).unwrap();
    node.start();
    let api = Api::of(&node).await;
    let waits = reason(&api, &old.folder()).await.unwrap();
    assert!(waits.contains("still running"), "{waits}");
    drop(lock.unwrap());
    let manifest = old.folder().join("manifest.json");
    wait::until_nothing("it is adopted", || {
        (!manifest.exists()).then_some(()).into_iter().collect()
    })
    .await;
    assert_eq!(ids(&api, &vm.id).await, [old.id.to_string()]);
}
