//! Regular files, on file systems that do not do the same.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use coriolis_ovm_exporter::client::target::{RawFile, Target as _};
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use tempfile::TempDir;

use super::super::comparison::house::{must, text};
use super::ground::Mount;
use super::{MIB, error_with, open};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn taken(file: &Path) -> u64 {
    fs::metadata(file).unwrap().blocks() * 512
}

/// What is to lie in the file, bytes.
const SIZE: usize = 16 << 20;

fn assert_holds(path: &Path, expected: &[u8]) {
    // Shown whole, they would fill the terminal.
    assert!(fs::read(path).unwrap() == expected, "{}", path.display());
}

/// Writes, zeroes, cuts and grows; says how much room it took before and after the zeros.
fn live(mount: &Mount) -> (u64, u64) {
    let path = mount.point.join("disk.img");
    let target = RawFile::open(&path).unwrap();
    assert!(target.zeroed());
    target.prepare(SIZE as u64).unwrap();
    assert!(taken(&path) < MIB, "growing took room");
    let mut expected = vec![0; SIZE];
    // Neither begins nor ends with a block.
    let data = (5 << 20) + 5..(9 << 20) + 5;
    target.write_at(data.start as u64, &[7; 4 << 20]).unwrap();
    target.flush().unwrap();
    expected[data].fill(7);
    assert_holds(&path, &expected);
    let full = taken(&path);
    let zeros = (6 << 20) + 1..(8 << 20) + 1;
    target.zero(zeros.start as u64, 2 * MIB).unwrap();
    target.flush().unwrap();
    expected[zeros].fill(0);
    assert_holds(&path, &expected);
    let holed = taken(&path);
    let cut = (5 << 20) + 1005;
    target.prepare(cut as u64).unwrap();
    assert_holds(&path, &expected[..cut]);
    target.prepare(SIZE as u64).unwrap();
    target.flush().unwrap();
    expected[cut..].fill(0);
    assert_holds(&path, &expected);
    (full, holed)
}

fn stays_sparse(mount: &Mount) {
    let (full, holed) = live(mount);
    assert!((4 * MIB..5 * MIB).contains(&full), "{full} bytes");
    assert!(
        holed < full - 2 * MIB + 64 * 1024,
        "{holed} of {full} bytes"
    );
}

#[test]
fn a_file_stays_sparse_on_ext4() {
    let folder = folder();
    stays_sparse(&Mount::ext4(&folder, 64 * MIB));
}

#[test]
fn a_file_stays_sparse_on_xfs() {
    let folder = folder();
    stays_sparse(&Mount::image(&folder, &["mkfs.xfs", "-q"], 320 * MIB));
}

#[test]
fn a_file_stays_sparse_on_btrfs() {
    let folder = folder();
    let mount = Mount::image(&folder, &["mkfs.btrfs", "-q"], 256 * MIB);
    stays_sparse(&mount);
}

#[test]
fn a_file_stays_sparse_on_tmpfs() {
    let folder = folder();
    stays_sparse(&Mount::memory(&folder, "tmpfs", "size=64m"));
}

#[test]
fn where_there_are_no_holes_zeros_are_written() {
    let folder = folder();
    let (full, holed) = live(&Mount::memory(&folder, "ramfs", "mode=0700"));
    assert_eq!(full, holed);
}

#[test]
fn a_read_only_file_system_is_said() {
    let folder = folder();
    let mount = Mount::ext4(&folder, 16 * MIB);
    let path = mount.point.join("disk.img");
    File::create(&path).unwrap().set_len(MIB).unwrap();
    must("mount", &["-o", "remount,ro", text(&mount.point)]);
    for path in [&path, &mount.point.join("new.img")] {
        error_with(
            open(path),
            io::ErrorKind::ReadOnlyFilesystem,
            &[text(path), "mount it writable"],
        );
    }
}

#[test]
fn a_file_larger_than_its_file_system_allows_is_said() {
    let folder = folder();
    let mount = Mount::ext4(&folder, 16 * MIB);
    let path = mount.point.join("disk.img");
    let target = open(&path).unwrap();
    // 16 TiB, less a block, are the most.
    error_with(
        target.prepare(17 << 40),
        io::ErrorKind::FileTooLarge,
        &[text(&path), "18691697672192", "another"],
    );
}

#[test]
fn a_sealed_file_is_said() {
    let folder = folder();
    let mount = Mount::ext4(&folder, 16 * MIB);
    let path = mount.point.join("disk.img");
    let file = File::create(&path).unwrap();
    attributes::set(&file, IMMUTABLE, true).unwrap();
    error_with(
        open(&path),
        io::ErrorKind::PermissionDenied,
        &[text(&path), "chattr"],
    );
    attributes::set(&file, IMMUTABLE, false).unwrap();
}
