//! `purge --orphans` removes what belongs to nobody, after asking, and nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::node::{Old, leave_database, look, seal};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");

fn purge(node: &TestNode, more: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["purge", "--orphans", "-config"])
        .arg(node.path("config.toml"))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The same on a terminal, with somebody who types this.
fn purge_asked(node: &TestNode, answer: &str) -> String {
    let command = format!(
        "{PROGRAM} purge --orphans -config {}",
        node.path("config.toml").display()
    );
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(answer.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Clones of a disk that no machine has.
fn orphan(node: &TestNode, name: &str) -> Old {
    let disk = node.repositories[0].path().join("VirtualDisks").join(name);
    fs::write(&disk, vec![7; 8192]).unwrap();
    Old::take("nobody", "", &[&disk])
}

fn everything(folders: &[&PathBuf]) -> Vec<Vec<String>> {
    folders.iter().map(|folder| look(folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_and_nothing_else_does() {
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[1 << 20]);
    fs::write(&vm.disks[0], vec![7; 8192]).unwrap();
    let spare = node.machine(1, 2, &[1 << 20]);
    let plain = orphan(&node, "plain.img");
    let sealed = orphan(&node, "sealed.img");
    seal(&sealed.disks[0].path, true);
    let mixed = orphan(&node, "mixed.img");
    let mixed_folder = mixed.folder();
    fs::create_dir(mixed_folder.join("folder")).unwrap();
    fs::write(mixed_folder.join("folder/file"), "x").unwrap();
    symlink(&vm.disks[0], mixed_folder.join("link")).unwrap();
    fs::hard_link(&vm.disks[0], mixed_folder.join("second-name")).unwrap();
    let used = orphan(&node, "used.img");
    let writer = File::options()
        .append(true)
        .open(&used.disks[0].path)
        .unwrap();
    let adoptable = Old::take(&vm.id, "2021-05-04T03:02:01Z", &[&vm.disks[0]]);
    let waiting = Old::take(&spare.id, "2021-05-04T03:02:01Z", &[&spare.disks[0]]);
    leave_database(&node, &[&adoptable, &waiting]);

    // Before the first start: db_file is still the first generation's.
    let kept = [adoptable.folder(), used.folder(), vm.disks[0].clone()];
    let kept: Vec<&PathBuf> = kept.iter().collect();
    let before = everything(&kept);
    let output = purge(&node, &[]);
    let listed = said(&output);
    assert!(!output.status.success(), "{listed}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--yes"));
    for old in [&plain, &sealed, &mixed] {
        let line = format!("orphan: {}: ", old.folder().display());
        assert!(listed.contains(&line), "{listed}");
        assert!(old.disks[0].path.exists());
    }
    assert!(listed.contains("8192 bytes in 1 files"), "{listed}");
    for old in [&adoptable, &waiting, &used] {
        let line = format!("kept: {}: ", old.folder().display());
        assert!(listed.contains(&line), "{listed}");
    }
    assert_eq!(everything(&kept), before);

    // Beside the daemon.
    node.start();
    let api = Api::of(&node).await;
    let native = api.snapshot(&vm.id).await;
    let native = PathBuf::from(text(&native["disks"][0]["path"]));
    let snapshots = [
        native.parent().unwrap().to_owned(),
        adoptable.folder(),
        waiting.folder(),
    ];
    let snapshots: Vec<&PathBuf> = snapshots.iter().collect();
    let before = everything(&snapshots);
    let answered = purge_asked(&node, "n\n");
    assert!(answered.contains("nothing was removed"), "{answered}");
    assert!(plain.folder().exists());
    let guest = fs::read(&vm.disks[0]).unwrap();
    let answered = purge_asked(&node, "y\n");
    for old in [&plain, &sealed] {
        assert!(!old.folder().exists(), "{answered}");
    }
    assert!(!mixed.disks[0].path.exists());
    for left in ["folder/file", "link", "second-name"] {
        assert!(mixed_folder.join(left).symlink_metadata().is_ok(), "{left}");
        let first = mixed_folder.join(Path::new(left).iter().next().unwrap());
        assert!(
            answered.contains(&format!("left: {}", first.display())),
            "{answered}"
        );
    }
    assert_eq!(everything(&snapshots), before);
    assert_eq!(fs::read(&vm.disks[0]).unwrap(), guest);
    assert!(used.disks[0].path.exists());

    // The writer is gone, and nobody asks.
    drop(writer);
    fs::remove_dir_all(&mixed_folder).unwrap();
    let output = purge(&node, &["--yes"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!used.folder().exists());
    let output = purge(&node, &[]);
    assert!(
        output.status.success() && said(&output) == "no folder to remove\n",
        "{output:?}"
    );
    assert_eq!(everything(&snapshots), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_lost_its_vm_cfg_keeps_every_folder() {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let vm = node.machine(0, 1, &[1 << 20]);
    // Of its names, or of others: it may have had any disk.
    let by_name = orphan(&node, "by-name.img");
    let recorded = Old::take("no/name", "2021-05-04T03:02:01Z", &[&vm.disks[0]]);
    leave_database(&node, &[&recorded]);
    let listed = said(&purge(&node, &[]));
    for old in [&by_name, &recorded] {
        let line = format!("orphan: {}: ", old.folder().display());
        assert!(listed.contains(&line), "{listed}");
    }

    let lost = node.repositories[0]
        .path()
        .join("VirtualMachines")
        .join("0004fb0000060000aaaaaaaaaaaaaaaa");
    fs::create_dir(&lost).unwrap();
    node.start();
    let output = purge(&node, &["--yes"]);
    assert!(output.status.success(), "{output:?}");
    let listed = said(&output);
    assert!(listed.contains("no folder to remove"), "{listed}");
    for old in [&by_name, &recorded] {
        let line = listed
            .lines()
            .find(|line| line.starts_with(&format!("kept: {}: ", old.folder().display())))
            .unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains(&lost.display().to_string()), "{line}");
        assert!(line.contains("has no vm.cfg"), "{line}");
        assert!(old.disks[0].path.exists());
    }

    fs::remove_dir(&lost).unwrap();
    let output = purge(&node, &["--yes"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!by_name.folder().exists() && !recorded.folder().exists());
}
