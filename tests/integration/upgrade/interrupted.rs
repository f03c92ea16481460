//! An adoption that was killed is taken up again where it was, and the order stays.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::RngExt;

use super::node::{Old, ids, leave_database, nothing_left, random, reason, seal};
use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};

const SIZE: u64 = 1 << 20;

/// Takes a snapshot's manifest away, as if it had not been written yet.
fn forget(folder: &Path, note_too: bool) {
    for name in ["manifest.json", ".deleting.json"] {
        if name == "manifest.json" || note_too {
            seal(&folder.join(name), false);
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_taken_up_again() {
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[SIZE]);
    let second = node.repositories[1].path().join("VirtualDisks/second.img");
    fs::write(&second, vec![7; 4096]).unwrap();
    fs::write(&vm.disks[0], vec![7; 4096]).unwrap();
    let text = format!(
        "name = '{0}'\nuuid = '{0}'\ndisk = ['file:{1},xvda,w', 'file:{2},xvdb,w']\n",
        vm.id,
        vm.disks[0].display(),
        second.display()
    );
    node.vm_cfg(0, &vm.id, &text);
    // Without records, so that their times are those of the folders.
    let olds = [(); 4].map(|()| Old::take(&vm.id, "", &[&vm.disks[0], &second]));
    node.start();
    let api = Api::of(&node).await;
    let wanted: Vec<String> = olds.iter().map(|old| old.id.to_string()).collect();
    assert_eq!(ids(&api, &vm.id).await, wanted);
    let times = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    node.stop();

    let folder = |at: usize, disk: usize| olds[at].disks[disk].path.parent().unwrap().to_owned();
    // Noted, not sealed yet.
    for disk in 0..2 {
        forget(&folder(0, disk), false);
        seal(&olds[0].disks[disk].path, false);
    }
    // Noted and sealed; half of a manifest.
    for disk in 0..2 {
        forget(&folder(1, disk), false);
        fs::write(folder(1, disk).join(".manifest.json.new"), "{\"vers").unwrap();
    }
    // A manifest in one repository, a note in the other, and not even that.
    forget(&folder(2, 1), false);
    forget(&folder(3, 0), true);

    node.start();
    let api = Api::of(&node).await;
    assert_eq!(ids(&api, &vm.id).await, wanted);
    let again = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    for at in 0..olds.len() {
        assert_eq!(again[at]["created_at"], times[at]["created_at"]);
        assert_eq!(again[at]["adopted"], true);
        let copies = [0, 1].map(|disk| fs::read(folder(at, disk).join("manifest.json")).unwrap());
        assert!(copies[0] == copies[1]);
    }
    let path = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(api.delete(&path).await.status, 200);
    nothing_left(&node);
}

/// A part of a snapshot that this generation made lost its manifest to a hand: nothing is guessed.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_snapshot_is_no_snapshot() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[SIZE]);
    let second = node.repositories[1].path().join("VirtualDisks/second.img");
    fs::write(&second, vec![7; 4096]).unwrap();
    let text = format!(
        "name = '{0}'\ndisk = ['file:{1},xvda,w', 'file:{2},xvdb,w']\n",
        vm.id,
        vm.disks[0].display(),
        second.display()
    );
    node.vm_cfg(0, &vm.id, &text);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&vm.id).await;
    let id = snapshot["id"].as_str().unwrap();
    node.stop();
    let folder = node.repositories[1]
        .path()
        .join("CoriolisSnapshots")
        .join(id);
    forget(&folder, true);
    node.start();
    let api = Api::of(&node).await;
    let found = reason(&api, &folder).await.unwrap();
    assert!(found.contains("manifest in another repository"), "{found}");
    assert!(!folder.join("manifest.json").exists());
    let path = format!("/vms/{}/snapshots/{id}", vm.id);
    assert_eq!(api.delete(&path).await.status, 200);
    nothing_left(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_ends_as_if_it_had_not_been() {
    let mut random = random();
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[SIZE]);
    fs::write(&vm.disks[0], vec![7; 1 << 20]).unwrap();
    // Half of them have a record with a time.
    let olds: Vec<Old> = (0..24)
        .map(|at| {
            let time = format!("2021-05-04T03:{at:02}:00Z");
            Old::take(&vm.id, &time, &[&vm.disks[0]])
        })
        .collect();
    leave_database(&node, &olds[..12].iter().collect::<Vec<_>>());
    let mut found_half = 0;
    for _ in 0..count(12, 200) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"))
            .arg("-config")
            .arg(node.path("config.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random.random_range(10_000..400_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let done = olds
            .iter()
            .filter(|old| old.folder().join("manifest.json").exists())
            .count();
        found_half += u32::from(done > 0 && done < olds.len());
        if done == olds.len() {
            // Again from some way back.
            for old in &olds[6..18] {
                forget(&old.folder(), false);
                seal(&old.disks[0].path, random.random());
            }
        }
    }
    println!("killed in the middle {found_half} times");
    node.start();
    let api = Api::of(&node).await;
    let wanted: Vec<String> = olds.iter().map(|old| old.id.to_string()).collect();
    assert_eq!(ids(&api, &vm.id).await, wanted);
    let list = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    for (old, snapshot) in olds.iter().zip(list.as_array().unwrap()) {
        assert_eq!(snapshot["adopted"], true);
        let path = format!(
            "/vms/{}/snapshots/{}/disks/{}",
            vm.id, old.id, old.disks[0].name
        );
        assert_eq!(
            api.get(&path).await.body,
            fs::read(&old.disks[0].path).unwrap()
        );
    }
    let path = format!("/vms/{}/snapshots", vm.id);
    assert_eq!(api.delete(&path).await.status, 200);
    nothing_left(&node);
}
