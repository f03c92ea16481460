//! No room.

use std::fs::{self, File};
use std::io;

use coriolis_ovm_exporter::client::target::Target;

use super::super::comparison::house::{must, text};
use super::ground::{Loop, Mount};
use super::{MIB, error_with, open};

/// Writes until nothing fits; says where that was.
fn fill(target: &dyn Target, step: usize) -> (u64, io::Error) {
    let bytes = vec![7; step];
    let mut at = 0;
    loop {
        match target.write_at(at, &bytes) {
            Ok(()) => at += step as u64,
            Err(error) => return (at, error),
        }
    }
}

fn is_said_and_goes_on_with_room(mount: &Mount) {
    let ballast = mount.point.join("ballast");
    fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let path = mount.point.join("disk.img");
    let target = open(&path).unwrap();
    target.prepare(256 * MIB).unwrap();
    let (at, error) = fill(&*target, 256 << 10);
    assert!(at < 64 * MIB);
    error_with::<()>(
        Err(error),
        io::ErrorKind::StorageFull,
        &[text(&path), &format!(" at {at}:"), "make room"],
    );
    // What failed was a write: nothing of what was written before is lost.
    target.flush().unwrap();
    fs::remove_file(&ballast).unwrap();
    // ext4 has the room back when its journal has been written.
    File::open(&mount.point).unwrap().sync_all().unwrap();
    target.write_at(at, &[8; 256 << 10]).unwrap();
    target.flush().unwrap();
    let mut bytes = vec![0; 256 << 10];
    target.read_at(at, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 8));
}

#[test]
fn a_full_ext4_is_said_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    is_said_and_goes_on_with_room(&Mount::ext4(&folder, 32 * MIB));
}

#[test]
fn a_full_tmpfs_is_said_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    is_said_and_goes_on_with_room(&Mount::memory(&folder, "tmpfs", "size=16m"));
}

#[test]
fn a_device_whose_storage_is_full_fails_at_the_flush_and_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::memory(&folder, "tmpfs", "size=4m");
    let device = Loop::new(&mount.point.join("image"), 16 * MIB, &[]);
    let target = open(&device.device).unwrap();
    // The cache takes all of it.
    target.write_at(0, &[7; 16 << 20]).unwrap();
    let Err(first) = target.flush() else {
        panic!("16 MiB found room in 4")
    };
    println!("{first}");
    assert!(first.to_string().starts_with(device.name()), "{first}");
    for _ in 0..2 {
        error_with(
            target.flush(),
            io::ErrorKind::Other,
            &[device.name(), "earlier flush", "open it again"],
        );
    }
}

#[test]
fn a_file_whose_storage_is_full_fails_at_the_flush_and_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Mount::memory(&folder, "tmpfs", "size=6m");
    let device = Loop::new(&storage.point.join("image"), 32 * MIB, &[]);
    must("mkfs.ext4", &["-q", "-O", "^has_journal", device.name()]);
    let mount = Mount::new(&folder.path().join("mount"), &[device.name()]);
    let path = mount.point.join("disk.img");
    let target = open(&path).unwrap();
    target.prepare(16 * MIB).unwrap();
    // Its file system has room, and what that lies on has not.
    target.write_at(0, &[7; 16 << 20]).unwrap();
    let Err(first) = target.flush() else {
        panic!("16 MiB found room in 6")
    };
    println!("{first}");
    assert!(first.to_string().starts_with(text(&path)), "{first}");
    error_with(
        target.flush(),
        io::ErrorKind::Other,
        &[text(&path), "earlier flush", "open it again"],
    );
}
