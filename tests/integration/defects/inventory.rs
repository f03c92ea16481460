//! What is listed, whatever is wrong beside it. More of this: the parsers' own tests, for vm.cfg
//! also against CPython (`vm_config.rs`), for the databases against libdb (`berkeley_db`).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coriolis_ovm_exporter::ovm::agent::AgentRepository;
use reqwest::Method;
use serde_json::{Value, json};

use super::{disk_path, write};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};

fn new_disk(path: &Path) -> &Path {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create_new(path).unwrap().set_len(1 << 20).unwrap();
    path
}

fn devices(vm: &Value) -> Vec<(&str, bool)> {
    vm["disks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|disk| {
            let compatible = disk["snapshot_compatible"].as_bool().unwrap();
            (text(&disk["device_name"]), compatible)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn phy_disks_are_silently_dropped() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = node.repositories[0].path().join("VirtualDisks/a.img");
    let disk = new_disk(&disk).display();
    let config = format!(
        "name = 'lun'\ndisk = ['file:{disk},xvda,w', 'phy:/dev/mapper/3600a0b80,xvdb,w!']\n"
    );
    node.vm_cfg(0, "lun", &config);
    let api = Api::of(&node).await;
    let vm = api.json("/vms/lun").await;
    assert_eq!(devices(&vm), [("xvda", true), ("xvdb", false)]);
    assert_eq!(vm["disks"][1]["path"], "/dev/mapper/3600a0b80");
    assert_eq!(vm["disks"][1]["mode"], "w!");
    assert!(!text(&vm["disks"][1]["reason"]).is_empty());
    assert_eq!(vm["snapshot_compatible"], false);
    let refused = api.send(Method::POST, "/vms/lun/snapshots", &[]).await;
    assert!(refused.error(400).1.contains("xvdb"));
}

/// A fourth field is the driver domain; the disk is a disk like any other.
#[tokio::test(flavor = "multi_thread")]
async fn disks_with_four_fields_are_silently_dropped() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let folder = node.repositories[0].path().join("VirtualDisks");
    let (first, second) = (folder.join("a.img"), folder.join("b.img"));
    let config = format!(
        "name = 'four'\ndisk = ['file:{},xvda,w', 'file:{},xvdb,w,0']\n",
        new_disk(&first).display(),
        new_disk(&second).display()
    );
    node.vm_cfg(0, "four", &config);
    write(&second, 3, 0, 4096);
    let api = Api::of(&node).await;
    let vm = api.json("/vms/four").await;
    assert_eq!(devices(&vm), [("xvda", true), ("xvdb", true)]);
    assert_eq!(vm["disks"][1]["path"], second.to_str().unwrap());
    // What counts as compatible is copied.
    let snapshot = api.snapshot("four").await;
    assert_eq!(snapshot["disks"].as_array().unwrap().len(), 2);
    let copied = api.get(&disk_path(&snapshot, 1)).await.body;
    assert!(copied == fs::read(&second).unwrap());
    // Where it cannot be, neither can the machine.
    let config = "name = 'gone'\ndisk = ['file:/nowhere/a.img,xvda,w,0']\n";
    node.vm_cfg(0, "gone", config);
    let vm = api.json("/vms/gone").await;
    assert_eq!(devices(&vm), [("xvda", false)]);
    assert_eq!(vm["snapshot_compatible"], false);
}

/// Adds a record that no pickle reader can read to the agent's list of repositories.
fn add_bad_record(node: &TestNode) {
    let database = node.path("agent-db").join("repository");
    let mut load = Command::new("db5.3_load")
        .arg(&database)
        .stdin(Stdio::piped())
        .spawn()
        .expect("db5.3_load cannot be started: install the package db5.3-util");
    let dump =
        "VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n 62616421\n 80ff00ff\nDATA=END\n";
    load.stdin
        .take()
        .unwrap()
        .write_all(dump.as_bytes())
        .unwrap();
    assert!(load.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_vm_cfg_or_repository_or_record_fails_every_call() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Xfs]).await;
    let good = node.machine(0, 1, &[4096]);
    let elsewhere = node.machine(1, 2, &[4096]);
    node.vm_cfg(0, "binary", "\u{0}\u{1}[[[");
    node.vm_cfg(
        0,
        "torn",
        "name = 'torn'\ndisk = ['file:/OVS/Repositories/a",
    );
    let folder = node.repositories[0].path().join("VirtualMachines");
    fs::create_dir_all(folder.join("folder/vm.cfg")).unwrap();
    fs::create_dir_all(folder.join("loop")).unwrap();
    std::os::unix::fs::symlink("vm.cfg", folder.join("loop/vm.cfg")).unwrap();
    fs::create_dir_all(folder.join("empty")).unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    node.write_databases(&[AgentRepository {
        id: "0004fb00000300000000000000000bad".to_owned(),
        mount_point: Some(PathBuf::from("/nowhere/at/all")),
        ..AgentRepository::default()
    }]);
    add_bad_record(&node);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&good.id).await;
    for unmounted in [false, true] {
        if unmounted {
            let mount = node.repositories[1].ground.mount().unwrap();
            mount.unmount().unwrap();
        }
        let vms = api.json("/vms").await;
        let find = |id: &str| vms.as_array().unwrap().iter().find(|vm| vm["id"] == id);
        let listed = find(&good.id).expect("the good one");
        assert_eq!(listed["snapshot_compatible"], true);
        assert_eq!(listed["snapshots"], json!([snapshot["id"]]));
        assert_eq!(listed["warnings"], json!([]));
        assert_eq!(find(&elsewhere.id).is_some(), !unmounted);
        for bad in ["binary", "torn", "folder", "loop"] {
            let vm = find(bad).unwrap_or_else(|| panic!("{bad} is listed"));
            assert_eq!(vm["snapshot_compatible"], false, "{vm}");
            assert!(!vm["warnings"].as_array().unwrap().is_empty(), "{vm}");
            api.json(&format!("/vms/{bad}")).await;
        }
        api.json(&format!("/vms/{}", good.id)).await;
        api.get(&disk_path(&snapshot, 0)).await;
        let said = api.json("/node").await;
        let states: Vec<&str> = said["repositories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|repository| text(&repository["state"]))
            .collect();
        let missing = if unmounted { 2 } else { 1 };
        let found = states.iter().filter(|state| **state == "missing").count();
        assert_eq!(found, missing, "{said}");
        assert!(said["warnings"].to_string().contains("bad!"), "{said}");
    }
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    api.json(&format!("/vms/{}", elsewhere.id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_but_right_python_blanks_a_name_or_fails_every_call() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = node.repositories[0].path().join("VirtualDisks/a.img");
    let disk = new_disk(&disk).display();
    for (id, line, expected) in [
        ("equals", "OVM_simple_name = 'a = b == c'", "a = b == c"),
        ("unicode", "OVM_simple_name = u'x'", "x"),
        ("quote", r"OVM_simple_name = 'it\'s'", "it's"),
        ("double", "OVM_simple_name = \"it's\"", "it's"),
        ("joined", "OVM_simple_name = 'one ' 'name'", "one name"),
        ("hash", "OVM_simple_name = 'a # b' # c", "a # b"),
        ("bytes", "OVM_simple_name = 'Z\u{fc}rich'", "Z\u{fc}rich"),
    ] {
        let config = format!(
            "{line}\nname = '{id}'\ndisk = [\n    'file:{disk},xvda,w',  # the system\n  ]\n\
             expected = 1L\nib_pkeys = [{{'pf': '40:00.0', 'port': ['0', '0'], }}, ]\n"
        );
        node.vm_cfg(0, id, &config);
        let api = Api::of(&node).await;
        let vm = api.json(&format!("/vms/{id}")).await;
        assert_eq!(vm["friendly_name"], expected);
        assert_eq!(devices(&vm), [("xvda", true)]);
        assert_eq!(vm["snapshot_compatible"], true, "{vm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_iso_makes_a_machine_incompatible() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    // The machine has a CD in its drive.
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    let shown = api.json(&format!("/vms/{}", vm.id)).await;
    assert_eq!(shown["snapshot_compatible"], true);
    assert_eq!(devices(&shown).len(), 2, "the CD is listed");
    assert_eq!(shown["disks"][1]["cdrom"], true);
    let snapshot = api.snapshot(&vm.id).await;
    let disks = snapshot["disks"].as_array().unwrap();
    assert_eq!(disks.len(), 1, "the CD is not copied");
    assert_eq!(disks[0]["parent_path"], vm.disks[0].to_str().unwrap());
    // A CD that is not there, or lies where nothing can be cloned, does not matter either.
    let disk = vm.disks[0].display();
    let config = format!("name='cd'\ndisk=['file:{disk},xvda,w','file:/no/cd.iso,xvdb:cdrom,r']\n");
    node.vm_cfg(0, "cd", &config);
    assert_eq!(api.json("/vms/cd").await["snapshot_compatible"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_folder_with_the_same_beginning_counts_as_the_repository() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let root = node.repositories[0].path();
    let sibling = PathBuf::from(format!("{}-copy", root.display()));
    let outside = sibling.join("VirtualDisks/a.img");
    new_disk(&outside);
    let up = root.join("../repository-copy/VirtualDisks/a.img");
    for (id, path) in [("sibling", &outside), ("up", &up)] {
        let config = format!("name = '{id}'\ndisk = ['file:{},xvda,w']\n", path.display());
        node.vm_cfg(0, id, &config);
        let api = Api::of(&node).await;
        let vm = api.json(&format!("/vms/{id}")).await;
        assert_eq!(devices(&vm), [("xvda", false)]);
        assert_eq!(vm["snapshot_compatible"], false);
        let path = format!("/vms/{id}/snapshots");
        api.send(Method::POST, &path, &[]).await.error(400);
    }
    assert!(!sibling.join("CoriolisSnapshots").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_with_one_base_name_collide() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let root = node.repositories[0].path();
    let paths = ["one", "two"].map(|folder| root.join(folder).join("System.img"));
    for (seed, path) in (1..).zip(&paths) {
        write(new_disk(path), seed, 0, 1 << 20);
    }
    let entry = |path: &PathBuf, device| format!("'file:{},{device},w'", path.display());
    let config = |order: [usize; 2]| {
        let (first, second) = (
            entry(&paths[order[0]], "xvda"),
            entry(&paths[order[1]], "xvdb"),
        );
        format!("name = 'twins'\ndisk = [{first}, {second}]\n")
    };
    node.vm_cfg(0, "twins", &config([0, 1]));
    let api = Api::of(&node).await;
    let first = api.snapshot("twins").await;
    node.vm_cfg(0, "twins", &config([1, 0]));
    write(&paths[1], 9, 8192, 4096);
    let second = api.snapshot("twins").await;
    for snapshot in [&first, &second] {
        assert_ne!(snapshot["disks"][0]["name"], snapshot["disks"][1]["name"]);
    }
    for at in 0..2 {
        let read = api.get(&disk_path(&second, at)).await.body;
        let parent = text(&second["disks"][at]["parent_path"]);
        assert!(
            read == fs::read(parent).unwrap(),
            "disk {at} has the other's bytes"
        );
        assert!(text(&second["disks"][at]["name"]).starts_with("System-"));
    }
    // Compared by their paths, whatever their order.
    let compared = api.compare("twins", &second, &first).await;
    assert_eq!(super::chunks(&compared, 0), [(8192, 12_288, false)]);
    assert_eq!(super::chunks(&compared, 1), []);
    assert_eq!(
        compared["disks"][0]["parent_path"],
        paths[1].to_str().unwrap()
    );
    let vm = api.json("/vms/twins").await;
    assert_eq!(vm["disks"][0]["name"], second["disks"][0]["name"]);
    // The name that both would have had is nobody's.
    let (prefix, _) = disk_path(&second, 0)
        .rsplit_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    api.get(&format!("{prefix}/System.img")).await.error(404);
}

/// First generation: 500. Every route: `error_table::ids`.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_machine_or_snapshot_is_an_internal_error() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    api.get("/vms/unknown").await.error(404);
    let absent = "00000000-0000-4000-8000-000000000000";
    let path = format!("/vms/{}/snapshots/{absent}", vm.id);
    api.get(&path).await.error(404);
    assert_eq!(api.delete(&path).await.status, 200, "gone already");
}
