//! What the library asks the kernel for, answered by a real OCFS2.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use coriolis_ovm_exporter::extents::flags;
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use coriolis_ovm_exporter::sys::fiemap::{self, ExtentReader};
use coriolis_ovm_exporter::sys::file_system::{self, Kind};
use coriolis_ovm_exporter::sys::identity;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::mount::MsFlags;

use super::house::House;
use super::{clones, moving, on_each, refused, write};
use crate::brief::{self, Brief};

/// More than the library asks for in three calls.
const EXTENTS: u64 = 3100;

pub fn run(brief: &Brief) {
    the_daemon_starts();
    on_each(brief, |house, disk| {
        file_system(house, disk);
        handle(house);
        immutable(house);
        moving::is_refused(house, disk.cluster);
        long_map(house, disk);
        small_files(house);
        clones::both_calls(house);
        println!("  as the library expects");
    });
}

/// The static binary, where there is no library at all.
fn the_daemon_starts() {
    let output = Command::new("./coriolis-ovm-exporter")
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    println!("{}", String::from_utf8(output.stdout).unwrap().trim());
}

fn file_system(house: &House, disk: &brief::Disk) {
    let root = File::open(house.root()).unwrap();
    let status = file_system::status(&root).unwrap();
    assert_eq!(status.kind, Kind::Ocfs2);
    assert_eq!(house.mount.kind(), "ocfs2");
    assert!(!status.read_only);
    assert!(status.available > 0 && status.available < status.total);
    // The kernel gives the cluster as the unit of good reads.
    assert_eq!(root.metadata().unwrap().blksize(), disk.cluster);
    assert_eq!(file_system::uuid(&root).unwrap(), disk.uuid);
}

/// One file keeps its handle over a remount; a file that takes its name has another one.
fn handle(house: &mut House) {
    let path = house.disk("handle");
    let ask = |path: &Path| identity::file_handle(&File::open(path).unwrap()).unwrap();
    write(&path, b"one");
    let first = ask(&path);
    house.move_out_and_in(MsFlags::empty());
    assert_eq!(ask(&path), first);
    for _ in 0..10 {
        fs::remove_file(&path).unwrap();
        write(&path, b"one");
        assert_ne!(ask(&path), first, "an inode that is used again");
    }
    fs::remove_file(&path).unwrap();
}

fn immutable(house: &House) {
    let path = house.disk("immutable");
    write(&path, &[7; 10_000]);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    assert!(!attributes::is_immutable(&file));
    attributes::set(&file, IMMUTABLE, true).unwrap();
    assert!(attributes::is_immutable(&file));
    assert_eq!(refused(fs::remove_file(&path)), libc::EPERM);
    assert_eq!(refused(fs::rename(&path, house.disk("other"))), libc::EPERM);
    assert_eq!(
        refused(File::options().write(true).open(&path)),
        libc::EPERM
    );
    assert_eq!(
        refused(fs::hard_link(&path, house.disk("other"))),
        libc::EPERM
    );
    attributes::set(&file, IMMUTABLE, false).unwrap();
    fs::remove_file(&path).unwrap();
}

/// A map of several batches: every extent once, in order, and the end found.
fn long_map(house: &House, disk: &brief::Disk) {
    let path = house.disk("long");
    let file = File::create_new(&path).unwrap();
    let unit = i64::try_from(disk.cluster).unwrap();
    let count = EXTENTS.min((512 << 20) / disk.cluster * 3);
    for at in 0..count {
        let offset = i64::try_from(at).unwrap() * 2 * unit;
        fallocate(&file, FallocateFlags::empty(), offset, unit).unwrap();
    }
    let extents: Vec<_> = ExtentReader::new(&file, 0).map(Result::unwrap).collect();
    assert_eq!(extents.len() as u64, count);
    assert_eq!(fiemap::count(&file).unwrap(), count);
    for (at, extent) in extents.iter().enumerate() {
        assert_eq!(extent.logical, at as u64 * 2 * disk.cluster);
        assert_eq!(extent.length, disk.cluster);
        assert_ne!(extent.flags & flags::UNWRITTEN, 0);
    }
    let from = 2000 * disk.cluster + 1;
    let rest = ExtentReader::new(&file, from).map(Result::unwrap).count();
    // The query begins inside an extent: that one comes whole.
    assert_eq!(rest as u64, count - 1000);
    println!("  an extent map of {count} extents");
    drop(file);
    fs::remove_file(&path).unwrap();
}

/// What is kept inside the inode is marked so that nothing is concluded from its address.
fn small_files(house: &House) {
    let path = house.disk("small");
    write(&path, &[7; 3000]);
    let file = File::open(&path).unwrap();
    let extents: Vec<_> = ExtentReader::new(&file, 0).map(Result::unwrap).collect();
    assert_eq!(extents.len(), 1);
    assert_ne!(extents[0].flags & flags::INLINE, 0);
    fs::remove_file(&path).unwrap();
}
