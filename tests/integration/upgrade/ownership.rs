//! What a record says counts only where all of it is true of the folder, and nobody else could be
//! at work in it. Everything else is not touched at all.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::node::{Old, database, ids, look, reason};
use crate::support::api::Api;
use crate::support::node::{Kind, TestNode};

/// Snapshots of a machine, each made wrong in one way.
struct Cases {
    repository: PathBuf,
    vm: String,
    disk: PathBuf,
    records: Vec<Value>,
    /// Why each folder is to stay as it is.
    wanted: Vec<(PathBuf, &'static str)>,
}

impl Cases {
    fn old(&self) -> Old {
        Old::take(&self.vm, "2021-05-04T03:02:01Z", &[&self.disk])
    }

    /// A snapshot that is as it should be, with another record.
    fn record(&mut self, reason: &'static str, change: impl FnOnce(&Old, &mut Value)) {
        let old = self.old();
        let mut record = old.record();
        change(&old, &mut record);
        self.records.push(record);
        self.wanted.push((old.folder(), reason));
    }

    /// A record that is as it should be, of a folder that was changed.
    fn folder<T>(&mut self, reason: &'static str, change: impl FnOnce(&Path) -> T) -> T {
        let old = self.old();
        self.records.push(old.record());
        self.wanted.push((old.folder(), reason));
        change(&old.disks[0].path)
    }
}

fn wrong_records(cases: &mut Cases) {
    let repository = cases.repository.clone();
    let disk = |record: &mut Value, field: &str, value: Value| record["Disks"][0][field] = value;
    cases.record("which is not in the snapshot's folder", |_, record| {
        disk(record, "path", json!("/etc/passwd"));
    });
    cases.record("which is not in the snapshot's folder", |old, record| {
        let folder = old.folder();
        let path = folder.join("..").join(folder.file_name().unwrap());
        disk(record, "path", json!(path.join(&old.disks[0].name)));
    });
    cases.record("which is not in the snapshot's folder", |old, record| {
        let other = repository.join("CoriolisSnapshots/another");
        disk(record, "path", json!(other.join(&old.disks[0].name)));
    });
    cases.record("the name of which is no file name", |_, record| {
        disk(record, "name", json!("../disk.img"));
    });
    cases.record("which lies in no repository of this node", |_, record| {
        disk(record, "repo_mountpoint", json!("/OVS/Repositories/other"));
    });
    for parent in [
        "/etc/passwd".into(),
        repository.join("VirtualDisks/../../x.img"),
        repository.join("CoriolisSnapshots/x.img"),
        "VirtualDisks/x.img".into(),
    ] {
        cases.record("which is no disk of the same repository", |_, record| {
            disk(record, "parent_path", json!(parent));
        });
    }
    cases.record("is missing", |old, record| {
        let mut second = record["Disks"][0].clone();
        second["name"] = json!("second.img");
        second["path"] = json!(old.folder().join("second.img"));
        second["parent_path"] = json!(repository.join("VirtualDisks/second.img"));
        record["Disks"].as_array_mut().unwrap().push(second);
    });
    cases.record("twice", |_, record| {
        let second = record["Disks"][0].clone();
        record["Disks"].as_array_mut().unwrap().push(second);
    });
    cases.record("names no disk", |_, record| record["Disks"] = Value::Null);
    for vm in ["../vm", "a\nb"] {
        cases.record("names no virtual machine", |_, record| {
            record["VMID"] = json!(vm);
        });
    }
}

/// What must be kept for as long as the folders are looked at.
struct Held {
    _writer: File,
    loop_device: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .args(["--detach", &self.loop_device])
            .status();
    }
}

fn wrong_folders(cases: &mut Cases) -> Held {
    let disk = cases.disk.clone();
    cases.folder("is missing", |file| fs::remove_file(file).unwrap());
    cases.folder("is no regular file", |file| {
        fs::remove_file(file).unwrap();
        symlink(&disk, file).unwrap();
    });
    cases.folder("is no regular file", |file| {
        fs::create_dir(file.with_file_name("folder")).unwrap();
    });
    cases.folder("has a name that no disk has", |file| {
        fs::write(file.with_file_name(".hidden"), "x").unwrap();
    });
    cases.folder("does not name", |file| {
        fs::write(file.with_file_name("more.img"), "x").unwrap();
    });
    // The machine's own disk, under a second name.
    cases.folder("hard link", |file| {
        fs::remove_file(file).unwrap();
        fs::hard_link(&disk, file).unwrap();
    });
    cases.folder("two databases", |_| ());
    let repository = cases.repository.clone();
    cases.folder("has a disk in it", |file| {
        let folder = repository.join("VirtualMachines/restored");
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "name = 'restored'\ndisk = ['file:{},xvda,w']\n",
            file.display()
        );
        fs::write(folder.join("vm.cfg"), text).unwrap();
    });
    let writer = cases.folder("is open for writing", |file| {
        File::options().append(true).open(file).unwrap()
    });
    let loop_device = cases.folder("is in use as /dev/loop", |file| {
        let output = Command::new("losetup")
            .args(["--read-only", "--find", "--show"])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    Held {
        _writer: writer,
        loop_device,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_beyond_doubt_is_not_touched() {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[1 << 20]);
    fs::write(&vm.disks[0], vec![7; 1 << 20]).unwrap();
    let mut cases = Cases {
        repository: node.repositories[0].path(),
        vm: vm.id.clone(),
        disk: vm.disks[0].clone(),
        records: Vec::new(),
        wanted: Vec::new(),
    };
    wrong_records(&mut cases);
    let held = wrong_folders(&mut cases);
    let good = cases.old();
    cases.records.push(good.record());
    fs::write(node.path("exporter.db"), database(&cases.records)).unwrap();
    // An older database that says something else of one of them.
    let at = cases
        .wanted
        .iter()
        .position(|(_, reason)| *reason == "two databases")
        .unwrap();
    let mut other = cases.records[at].clone();
    other["VMID"] = json!("another");
    let aside = node.path("exporter.db.first-generation-3");
    fs::write(aside, database(&[other])).unwrap();
    let before: Vec<Vec<String>> = cases
        .wanted
        .iter()
        .map(|(folder, _)| look(folder))
        .collect();
    let guest = look(&cases.disk);

    node.start();
    let api = Api::of(&node).await;
    for (folder, wanted) in &cases.wanted {
        let found = reason(&api, folder).await;
        let found = found.unwrap_or_else(|| panic!("{wanted}: {} is adopted", folder.display()));
        assert!(found.contains(wanted), "{wanted:?} is not in {found:?}");
    }
    assert_eq!(ids(&api, &vm.id).await, [good.id.to_string()]);
    for ((folder, reason), before) in cases.wanted.iter().zip(before) {
        assert_eq!(look(folder), before, "{reason}");
    }
    assert_eq!(look(&cases.disk), guest);
    drop(held);

    // What has passed does not keep it any more.
    node.stop();
    fs::remove_dir_all(node.repositories[0].path().join("VirtualMachines/restored")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(ids(&api, &vm.id).await.len(), 4);
}
