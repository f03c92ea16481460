//! When one reading of a map is enough, and when it is not.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
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

/// Two snapshots of a disk, with a change between them.
fn two(house: &House, disk: &Path) -> (Snapshot, Snapshot) {
    let older = house.take(disk);
    disk::write(disk, 1 << 20, &[4; 40_000]);
    (older, house.take(disk))
}

/// A disk in many extents: whoever defragments has something to do.
fn in_pieces(disk: &Path) {
    const PIECE: usize = 64 << 10;
    let file = fs::File::create_new(disk).unwrap();
    file.set_len(SIZE as u64).unwrap();
    // Backwards, each with its place before the next one comes.
    for at in (0..SIZE / PIECE).rev() {
        file.write_all_at(&[3; PIECE], (at * PIECE) as u64).unwrap();
        file.sync_all().unwrap();
    }
    assert!(places(disk).len() > 8);
}

/// The same bytes in other places.
fn donor(ground: &Ground) -> PathBuf {
    let donor = disk_in(ground, "donor");
    fs::write(&donor, vec![3; SIZE]).unwrap();
    must("xfs_io", &["-c", "fsync", text(&donor)]);
    donor
}

/// Where a file's extents lie; the map also cuts them where others begin to share them.
fn lies(file: &Path) -> Vec<(u64, u64, u64)> {
    let mut joined: Vec<(u64, u64, u64)> = Vec::new();
    for (logical, physical, length) in places(file) {
        match joined.last_mut() {
            Some((at, place, so_far))
                if (*at + *so_far, *place + *so_far) == (logical, physical) =>
            {
                *so_far += length;
            }
            _ => joined.push((logical, physical, length)),
        }
    }
    joined
}

#[test]
fn nothing_moves_what_is_sealed_on_xfs() {
    let ground = Kind::Xfs.make(512 << 20);
    let house = House::over(&[&ground]);
    let disk = disk_in(&ground, "disk.img");
    in_pieces(&disk);
    let (older, newer) = two(&house, &disk);
    let file = file_of(&older);
    assert!(is_still(&file) && is_still(&file_of(&newer)));
    let before = lies(&file);
    // The same file, only without the flag: there each of these does move extents.
    let unsealed = || {
        let copy = disk_in(&ground, "copy");
        must("cp", &["--reflink=always", text(&file), text(&copy)]);
        must("xfs_io", &["-c", "fsync", text(&copy)]);
        assert_eq!(lies(&copy), before);
        copy
    };
    let with = |order: &str| order.replace("DONOR", text(&donor(&ground)));
    // Writes, so its own descriptor must be for writing, or be of one who may do all (`-r`).
    for (how, order) in [
        ("", "swapext DONOR"),
        ("", "dedupe DONOR 0 0 65536"),
        ("-r", "dedupe DONOR 0 0 65536"),
        ("", "reflink DONOR 0 0 65536"),
        ("", "fcollapse 0 4096"),
        ("", "finsert 0 4096"),
        ("", "funshare 0 65536"),
    ] {
        let run = |file: &Path| {
            let order = with(order);
            let mut arguments = vec!["-c", &order, text(file)];
            arguments.extend((!how.is_empty()).then_some(how));
            shell("xfs_io", &arguments)
        };
        let copy = unsealed();
        let (said, worked) = run(&copy);
        assert!(worked && lies(&copy) != before, "{how} {order}: {said}");
        // It cannot be opened for writing; who needs no such descriptor is refused by the call.
        let (said, _) = run(&file);
        let refuses = if how == "-r" {
            "EXTENT_SAME"
        } else {
            text(&file)
        };
        let refusal = format!("{refuses}: Operation not permitted");
        assert!(said.contains(&refusal), "{how} {order}: {said}");
        assert_eq!(lies(&file), before, "{how} {order}");
    }
    // Who has it open for writing already is refused by each call. Not by swapext, for which
    // `whoever_had_it_open_before_it_was_sealed_can_move_it_and_is_noticed`.
    for (order, call) in [
        ("dedupe DONOR 0 0 65536", "XFS_IOC_FILE_EXTENT_SAME"),
        ("reflink DONOR 0 0 65536", "XFS_IOC_CLONE_RANGE"),
        ("fcollapse 0 4096", "fallocate"),
        ("finsert 0 4096", "fallocate"),
        ("funshare 0 65536", "fallocate"),
    ] {
        let mut writer = Writer::before_the_flag_is_set(&file);
        writer.order(&with(order));
        let said = writer.said();
        let refusal = format!("{call}: Operation not permitted");
        assert!(said.contains(&refusal), "{order}: {said}");
        assert_eq!(lies(&file), before, "{order}");
    }
    // Says nothing with its status.
    let copy = unsealed();
    let (said, _) = shell("xfs_fsr", &["-v", text(&copy)]);
    assert_ne!(lies(&copy), before, "{said}");
    shell("xfs_fsr", &["-v", text(&file)]);
    assert_eq!(lies(&file), before);
    assert!(is_still(&file));
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
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Writer(child)
    }

    /// As if a sealed file had been opened in the moment between clone and flag.
    fn before_the_flag_is_set(file: &Path) -> Writer {
        let held = fs::File::open(file).unwrap();
        must("chattr", &["-i", text(file)]);
        let writer = Writer::open(file);
        wait::until("it is open for writing", || {
            occupied::is_written_to(&held).unwrap()
        });
        must("chattr", &["+i", text(file)]);
        writer
    }

    /// Ends it: what went wrong.
    fn said(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let mut errors = self.0.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        said
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
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![3; SIZE]).unwrap();
    let (older, newer) = two(&house, &disk);
    let file = file_of(&older);
    let held = UncachedFile::open(&file).unwrap();
    let before = stillness::of(&held).unwrap();
    let mut writer = Writer::before_the_flag_is_set(&file);
    assert!(!is_still(&file));
    let moved_from = places(&file);
    let donor = donor(&ground);
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
