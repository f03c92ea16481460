//! OCFS2's defragmentation (`OCFS2_IOC_MOVE_EXT`): refused on an immutable file at each call, whoever
//! has it open. That is why one reading of such a file's map is enough.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use coriolis_ovm_exporter::snapshots::stillness;
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use coriolis_ovm_exporter::sys::uncached::UncachedFile;
use nix::libc;

use super::house::House;
use super::refused;

/// `_IOW('o', 6, struct ocfs2_move_extents)`.
const OCFS2_IOC_MOVE_EXT: libc::Ioctl = 0x4040_6F06;

/// `OCFS2_MOVE_EXT_FL_AUTO_DEFRAG`.
const AUTO_DEFRAG: u64 = 1;
const PIECES: u64 = 40;

/// `struct ocfs2_move_extents`, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct MoveExtents {
    start: u64,
    length: u64,
    goal: u64,
    /// Extents of this length and more are left alone.
    threshold: u64,
    flags: u64,
    moved: u64,
    new_offset: u64,
    reserved: [u32; 2],
}

fn defragment(file: &File, length: u64) -> io::Result<()> {
    let mut order = MoveExtents {
        length,
        threshold: length,
        flags: AUTO_DEFRAG,
        ..MoveExtents::default()
    };
    // SAFETY: the descriptor is open while `file` is borrowed; the kernel reads and writes one
    // structure, the size of which is encoded in the request's number.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), OCFS2_IOC_MOVE_EXT, &raw mut order) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn places(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let map = ExtentReader::new(&file, 0).map(Result::unwrap);
    map.map(|extent| (extent.logical, extent.physical))
        .collect()
}

pub fn is_refused(house: &House, cluster: u64) {
    let path = house.disk("moving");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    // From the end to the beginning, so that the pieces do not lie in their order.
    let piece = vec![7; usize::try_from(cluster).unwrap()];
    for at in (0..PIECES).rev() {
        file.write_all_at(&piece, at * cluster).unwrap();
        file.sync_all().unwrap();
    }
    let still = || stillness::of(&UncachedFile::open(&path).unwrap()).is_some();
    let here = places(&path);
    assert!(here.len() > 1, "in one piece: {here:?}");
    attributes::set(&file, IMMUTABLE, true).unwrap();
    assert!(still());
    assert_eq!(refused(defragment(&file, PIECES * cluster)), libc::EPERM);
    assert_eq!(places(&path), here);
    attributes::set(&file, IMMUTABLE, false).unwrap();
    assert!(!still());
    // The same call, without the flag.
    defragment(&file, PIECES * cluster).unwrap();
    assert_ne!(places(&path), here, "nothing was moved");
    drop(file);
    fs::remove_file(&path).unwrap();
}
