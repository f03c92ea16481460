//! Snapshots that somebody changed by hand are refused, with the reason.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::operations::demo::ground::{Ground, run};
use coriolis_ovm_exporter::snapshots::{Comparison, Refine, Snapshot, SnapshotError};
use std::process::Command;

use super::super::support::disk::write;
use super::super::support::node::Kind;
use super::house::{House, disk_in, file_of, must, text};

const SIZE: usize = 1 << 20;
const BOTH: [Kind; 2] = [Kind::Xfs, Kind::Btrfs];

/// Two snapshots of a small disk.
struct Chain {
    ground: Ground,
    house: House,
    disk: PathBuf,
    older: Snapshot,
    newer: Snapshot,
}

impl Chain {
    fn on(kind: Kind) -> Chain {
        let ground = kind.make(512 << 20);
        let house = House::over(&[&ground]);
        let disk = disk_in(&ground, "disk.img");
        fs::write(&disk, vec![7; SIZE]).unwrap();
        let older = house.take(&disk);
        write(&disk, 8192, b"a change");
        let newer = house.take(&disk);
        let chain = Chain {
            ground,
            house,
            disk,
            older,
            newer,
        };
        assert!(chain.compare().is_ok());
        chain
    }

    fn compare(&self) -> Result<Comparison, SnapshotError> {
        self.house.compare(&self.older, &self.newer, Refine::Auto)
    }

    /// A comparison is refused because `snapshot` is not what it was, with `reason`; its bytes
    /// are not handed out either, and after a restart it is no different.
    fn assert_changed(&mut self, snapshot: &Snapshot, reason: &str) {
        for _ in 0..2 {
            match self.compare() {
                Err(SnapshotError::Changed {
                    id, reason: said, ..
                }) => {
                    assert_eq!(id, snapshot.id());
                    assert!(said.contains(reason), "{said}");
                }
                other => panic!("not refused: {other:?}"),
            }
            let found = self.house.find(snapshot).unwrap();
            let opened = found.open(&found.manifest.disks[0]);
            assert!(
                matches!(opened, Err(SnapshotError::Changed { .. })),
                "{opened:?}"
            );
            self.house.reopen();
        }
        // It can be got rid of, and a new chain begins.
        self.house.delete(snapshot).unwrap();
        assert!(!file_of(snapshot).exists());
    }
}

fn unseal(path: &Path) {
    must("chattr", &["-i", text(path)]);
}

#[test]
fn another_file_under_its_name() {
    for kind in BOTH {
        let mut chain = Chain::on(kind);
        let file = file_of(&chain.older);
        unseal(&file);
        let copy = file.with_extension("copy");
        // The same bytes, the same times, the same blocks even: it is not the same file.
        must("cp", &["-a", "--reflink=always", text(&file), text(&copy)]);
        must("mv", &["-f", text(&copy), text(&file)]);
        let older = chain.older.clone();
        chain.assert_changed(&older, "another file has taken its name");
    }
}

#[test]
fn a_file_made_anew_with_the_old_inode_number() {
    // XFS hands a freed inode number out again at once.
    let mut chain = Chain::on(Kind::Xfs);
    let file = file_of(&chain.older);
    unseal(&file);
    fs::remove_file(&file).unwrap();
    fs::write(&file, vec![7; SIZE]).unwrap();
    let older = chain.older.clone();
    chain.assert_changed(&older, "another file has taken its name");
}

#[test]
fn a_byte_written_into_it() {
    for kind in BOTH {
        let mut chain = Chain::on(kind);
        let file = file_of(&chain.older);
        unseal(&file);
        write(&file, 5, b"!");
        let older = chain.older.clone();
        chain.assert_changed(&older, "it was written to at");
    }
}

#[test]
fn a_byte_written_into_the_newer_one() {
    let mut chain = Chain::on(Kind::Xfs);
    let file = file_of(&chain.newer);
    unseal(&file);
    write(&file, 5, b"!");
    let newer = chain.newer.clone();
    chain.assert_changed(&newer, "it was written to at");
}

#[test]
fn another_size() {
    let mut chain = Chain::on(Kind::Xfs);
    let file = file_of(&chain.older);
    unseal(&file);
    let open = File::options().write(true).open(&file).unwrap();
    open.set_len(SIZE as u64 - 1).unwrap();
    drop(open);
    let older = chain.older.clone();
    chain.assert_changed(&older, "bytes, sealed with");
}

#[test]
fn its_file_removed() {
    for kind in BOTH {
        let mut chain = Chain::on(kind);
        let file = file_of(&chain.older);
        unseal(&file);
        fs::remove_file(&file).unwrap();
        let older = chain.older.clone();
        chain.assert_changed(&older, "is gone");
    }
}

#[test]
fn its_file_replaced_by_a_symbolic_link() {
    let chain = Chain::on(Kind::Xfs);
    let file = file_of(&chain.older);
    unseal(&file);
    let aside = chain.ground.repository().join("aside.img");
    fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    let refused = chain.compare();
    assert!(refused.is_err(), "{refused:?}");
    chain.house.delete(&chain.older).unwrap();
    assert!(aside.exists(), "a file of somebody else was removed");
}

#[test]
fn deleted_as_it_should_be() {
    let chain = Chain::on(Kind::Btrfs);
    chain.house.delete(&chain.older).unwrap();
    let gone = chain.compare();
    assert!(
        matches!(gone, Err(SnapshotError::BaseGone { .. })),
        "{gone:?}"
    );
    chain.house.delete(&chain.older).unwrap();
}

#[test]
fn its_manifest_damaged() {
    let chain = Chain::on(Kind::Xfs);
    let directory = file_of(&chain.older).parent().unwrap().to_owned();
    let manifest = directory.join("manifest.json");
    let whole = fs::read(&manifest).unwrap();
    must("chattr", &["-i", text(&manifest)]);
    let newer = String::from_utf8_lossy(&whole).replace("\"version\": 1", "\"version\": 99");
    for damaged in [&whole[..200], newer.as_bytes()] {
        fs::write(&manifest, damaged).unwrap();
        // It may be mended, or read by another release: it is not gone.
        for found in [
            chain.compare().map(drop),
            chain.house.find(&chain.older).map(drop),
        ] {
            assert!(
                matches!(found, Err(SnapshotError::Unreadable { .. })),
                "{found:?}"
            );
        }
    }
    fs::write(&manifest, whole).unwrap();
    chain.compare().unwrap();
}

#[test]
fn its_manifest_removed() {
    let mut chain = Chain::on(Kind::Xfs);
    let directory = file_of(&chain.older).parent().unwrap().to_owned();
    let manifest = directory.join("manifest.json");
    assert!(
        fs::remove_file(&manifest).is_err(),
        "rm alone fails on it too"
    );
    must("chattr", &["-i", text(&manifest)]);
    fs::remove_file(manifest).unwrap();
    for _ in 0..2 {
        let gone = chain.compare();
        assert!(
            matches!(gone, Err(SnapshotError::BaseGone { .. })),
            "{gone:?}"
        );
        let found = chain.house.find(&chain.older);
        assert!(
            matches!(found, Err(SnapshotError::Unknown { .. })),
            "{found:?}"
        );
        chain.house.reopen();
    }
    // Nobody can tell any more whose it is: it stays.
    chain.house.snapshots.recover().unwrap();
    assert!(directory.join("disk.img").exists());
}

#[test]
fn its_directory_under_another_id() {
    let chain = Chain::on(Kind::Xfs);
    let directory = file_of(&chain.older).parent().unwrap().to_owned();
    let other = directory.with_file_name("00000000-0000-4000-8000-000000000001");
    fs::rename(&directory, &other).unwrap();
    let gone = chain.compare();
    assert!(
        matches!(gone, Err(SnapshotError::BaseGone { .. })),
        "{gone:?}"
    );
    let all = chain.house.snapshots.all(None).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
}

#[test]
fn the_whole_repository_on_a_new_file_system() {
    for kind in BOTH {
        let mut chain = Chain::on(kind);
        let fresh = kind.make(512 << 20);
        let from = format!("{}/.", chain.ground.repository().display());
        must("cp", &["-a", &from, text(&fresh.repository())]);
        // The new one lies over the old one, at the same mount point.
        let point = chain.ground.repository();
        run(Command::new("mount")
            .arg("--bind")
            .arg(fresh.repository())
            .arg(&point))
        .unwrap();
        let refused = chain.compare();
        chain.house.reopen();
        let still = chain.compare();
        let next = chain.house.take(&chain.disk);
        let onto = chain.house.compare(&chain.newer, &next, Refine::Auto);
        run(Command::new("umount").arg(&point)).unwrap();
        for refused in [refused, still, onto] {
            match refused {
                Err(SnapshotError::Changed { reason, .. }) => {
                    assert!(reason.contains("it lies on file system"), "{reason}");
                }
                other => panic!("not refused: {other:?}"),
            }
        }
        // The old one is what it was.
        chain.compare().unwrap();
    }
}
