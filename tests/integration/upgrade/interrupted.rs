//! An adoption that was killed is taken up again where it was, and the order stays.

use std::fs;
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::snapshots::faults::Point;
use rand::RngExt;

use super::node::{Old, ids, leave_database, nothing_left, random, reason, seal};
use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::peace;

/// Names a point to a daemon that is started.
const FAULT: &str = "CORIOLIS_OVM_EXPORTER_FAULT";

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

/// A machine with a disk in each of two repositories, and what the first generation left of it.
struct Scene {
    node: TestNode,
    vm: String,
    disks: Vec<PathBuf>,
    olds: Vec<Old>,
}

impl Scene {
    async fn set() -> Scene {
        let node = TestNode::prepare(&[Kind::Xfs, Kind::Btrfs], "").await;
        let disks: Vec<PathBuf> = [(0, "system.img"), (1, "data.img")]
            .iter()
            .map(|(at, name)| {
                node.repositories[*at]
                    .path()
                    .join("VirtualDisks")
                    .join(name)
            })
            .collect();
        let vm = "0004fb00000600000000000000000001".to_owned();
        let text = format!(
            "name = '{vm}'\nuuid = '{vm}'\ndisk = ['file:{},xvda,w', 'file:{},xvdb,w']\n",
            disks[0].display(),
            disks[1].display()
        );
        node.vm_cfg(0, &vm, &text);
        Scene {
            node,
            vm,
            disks,
            olds: Vec::new(),
        }
    }

    /// One that has a record, and two whose time is told by their folders.
    fn prepare(&mut self) {
        let disks: Vec<&Path> = self.disks.iter().map(PathBuf::as_path).collect();
        self.olds.clear();
        for (at, time) in ["2021-05-04T03:02:01Z", "", ""].into_iter().enumerate() {
            for (number, disk) in disks.iter().enumerate() {
                fs::write(disk, vec![u8::try_from(at * 2 + number).unwrap(); 20_000]).unwrap();
            }
            self.olds.push(Old::take(&self.vm, time, &disks));
        }
        for name in ["exporter.db", "exporter.db-wal", "exporter.db-shm"] {
            let _ = fs::remove_file(self.node.path(name));
        }
        for item in fs::read_dir(self.node.path(".")).unwrap().flatten() {
            if item
                .file_name()
                .to_string_lossy()
                .contains("first-generation")
            {
                fs::remove_file(item.path()).unwrap();
            }
        }
        leave_database(&self.node, &[&self.olds[0]]);
    }

    /// Starts a daemon that is to die at its start.
    fn start_killed(&mut self, spot: &str) {
        let died = self.node.start_with(&[(FAULT, spot)]).unwrap_err();
        assert!(format!("{died:#}").contains("SIGKILL"), "{spot}: {died:#}");
    }

    /// All are there, in order and in peace, with the bytes they had; then all go.
    async fn check_and_clear(&mut self, spot: &str) {
        self.node.start();
        let api = Api::of(&self.node).await;
        let wanted: Vec<String> = self.olds.iter().map(|old| old.id.to_string()).collect();
        assert_eq!(ids(&api, &self.vm).await, wanted, "{spot}");
        peace::returns(&self.node, &api).await;
        for (at, old) in self.olds.iter().enumerate() {
            for (number, disk) in old.disks.iter().enumerate() {
                let path = format!("/vms/{}/snapshots/{}/disks/{}", self.vm, old.id, disk.name);
                let bytes = api.get(&path).await.body;
                assert!(bytes == vec![u8::try_from(at * 2 + number).unwrap(); 20_000]);
            }
        }
        let path = format!("/vms/{}/snapshots", self.vm);
        assert_eq!(api.delete(&path).await.status, 200);
        nothing_left(&self.node);
        self.node.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_each_point_of_an_adoption_is_taken_up_again() {
    let mut random = random();
    let mut scene = Scene::set().await;
    scene.prepare();
    scene.node.start_with(&[(FAULT, "watch")]).unwrap();
    scene.node.stop();
    let log = scene.node.log();
    scene.check_and_clear("watch").await;
    let mut kills = 0;
    for point in Point::ALL {
        let line = format!("passes {}", point.name());
        let passed = log.lines().filter(|logged| logged.ends_with(&line)).count();
        if point.name().starts_with("adopt.") {
            assert!(passed > 0, "nothing passes {}", point.name());
        } else if passed == 0 {
            continue;
        }
        let chosen: Vec<usize> = match count(1, 0) {
            0 => (1..=passed).collect(),
            _ => vec![random.random_range(1..=passed)],
        };
        for passing in chosen {
            let spot = format!("{}:{passing}", point.name());
            scene.prepare();
            scene.start_killed(&spot);
            // And again, where the second start still has one to adopt.
            if random.random() && scene.node.start_with(&[(FAULT, "adopt.sealed:1")]).is_ok() {
                scene.node.stop();
            }
            scene.check_and_clear(&spot).await;
            kills += 1;
        }
    }
    println!("killed at {kills} places");
}
