//! When one reading of a map is enough, and when it is not.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::snapshots::{Refine, Snapshot, stillness};
use coriolis_ovm_exporter::sys::occupied;
use coriolis_ovm_exporter::sys::uncached::UncachedFile;

use super::super::support::disk;
use super::super::support::node::Kind;
use super::super::support::wait;
use super::house::{House, disk_in, file_of, must, places, shell, text};
use super::replica;

const SIZE: usize = 4 << 20;

fn is_still(path: &Path) -> bool {
    stillness::of(&UncachedFile::open(path).unwrap()).is_some()
}

/// Two snapshots of a disk of some extents, with a change between them.
fn two(house: &House, disk: &Path) -> (Snapshot, Snapshot) {
    fs::write(disk, vec![3; SIZE]).unwrap();
    let older = house.take(disk);
    disk::write(disk, 1 << 20, &[4; 40_000]);
    (older, house.take(disk))
}

#[test]
fn nothing_moves_what_is_sealed_on_xfs() {
    let ground = Kind::Xfs.make(512 << 20);
    let house = House::over(&[&ground]);
    let (older, newer) = two(&house, &disk_in(&ground, "disk.img"));
    let file = file_of(&older);
    assert!(is_still(&file) && is_still(&file_of(&newer)));
    let before = places(&file);
    let donor = disk_in(&ground, "donor");
    fs::write(&donor, vec![3; SIZE]).unwrap();
    must("xfs_io", &["-c", "fsync", text(&donor)]);
    let donor = text(&donor).to_owned();
    for order in [
        format!("swapext {donor}"),
        format!("dedupe {donor} 0 0 65536"),
        format!("reflink {donor} 0 0 65536"),
        "fcollapse 0 4096".to_owned(),
        "finsert 0 4096".to_owned(),
        "funshare 0 65536".to_owned(),
    ] {
        let (said, _) = shell("xfs_io", &["-c", &order, text(&file)]);
        assert!(said.contains("not permitted"), "{order}: {said}");
    }
    // Says nothing with its status.
    shell("xfs_fsr", &["-v", text(&file)]);
    // Deduplication needs no descriptor for writing where root asks.
    let order = format!("dedupe {donor} 0 0 65536");
    let (said, _) = shell("xfs_io", &["-r", "-c", &order, text(&file)]);
    assert!(said.contains("not permitted"), "{order}: {said}");
    assert_eq!(places(&file), before);
    let comparison = house.compare(&older, &newer, Refine::None).unwrap();
    let exact = replica::exact(&comparison, &file);
    assert_eq!(exact.named, 40_960, "one reading names the blocks written");
}

#[test]
fn what_can_move_is_not_still() {
    for kind in Kind::CLONING {
        let ground = kind.make(512 << 20);
        for immutable in [true, false] {
            let settings = config::Snapshots {
                immutable,
                ..config::Snapshots::default()
            };
            let house = House::with(&[&ground], settings);
            let disk = disk_in(&ground, "disk.img");
            fs::write(&disk, vec![3; SIZE]).unwrap();
            let snapshot = house.take(&disk);
            assert_eq!(
                is_still(&file_of(&snapshot)),
                immutable && kind == Kind::Xfs,
                "{kind:?}, immutable {immutable}"
            );
            assert!(!is_still(&disk), "the guest's disk");
            house.delete(&snapshot).unwrap();
        }
    }
}

/// `xfs_io` with a file open for writing, ended when this is dropped.
struct Writer(Child);

impl Writer {
    fn open(file: &Path) -> Writer {
        let child = Command::new("xfs_io")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Writer(child)
    }

    fn order(&mut self, order: &str) {
        let input = self.0.stdin.as_mut().unwrap();
        input.write_all(format!("{order}\n").as_bytes()).unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_had_it_open_before_it_was_sealed_can_move_it_and_is_noticed() {
    let ground = Kind::Xfs.make(512 << 20);
    let house = House::over(&[&ground]);
    let (older, newer) = two(&house, &disk_in(&ground, "disk.img"));
    let file: PathBuf = file_of(&older);
    let held = UncachedFile::open(&file).unwrap();
    let before = stillness::of(&held).unwrap();
    // As if it had been opened in the moment between clone and flag.
    must("chattr", &["-i", text(&file)]);
    assert_eq!(stillness::of(&held), None);
    let mut writer = Writer::open(&file);
    wait::until("it is open for writing", || {
        occupied::is_written_to(held.file()).unwrap()
    });
    must("chattr", &["+i", text(&file)]);
    assert!(!is_still(&file));
    let moved_from = places(&file);
    let donor = disk_in(&ground, "donor");
    fs::write(&donor, vec![3; SIZE]).unwrap();
    must("xfs_io", &["-c", "fsync", text(&donor)]);
    writer.order(&format!("swapext {}", text(&donor)));
    wait::until("the extents are exchanged", || places(&file) != moved_from);
    for refine in [Refine::None, Refine::Blocks] {
        let comparison = house.compare(&older, &newer, refine).unwrap();
        assert_eq!(replica::exact(&comparison, &file).missed, 0);
    }
    drop(writer);
    wait::until("nobody writes any more", || is_still(&file));
    assert_ne!(
        stillness::of(&held),
        Some(before),
        "a flag that was cleared and set again is noticed"
    );
}
