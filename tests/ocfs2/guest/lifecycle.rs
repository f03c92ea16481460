//! The life of snapshots: made, sealed, compared, read, found after a remount, deleted.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::{Ability, Refine, Snapshot, SnapshotError};
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use coriolis_ovm_exporter::sys::reflink::CloneCall;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::mount::MsFlags;

use super::house::{House, file_of};
use super::{noise, on_each, refused, replica, without_ficlone};
use crate::brief::Brief;

pub fn run(brief: &Brief) {
    on_each(brief, |house, _| {
        let mut random = Random::new(brief.seed);
        whole_life(house, CloneCall::Ficlone, &mut random);
        // Another index, so that the clone is tried anew.
        house.move_out_and_in(MsFlags::empty());
        without_ficlone::run(|| whole_life(house, CloneCall::Ocfs2Reflink, &mut random));
    });
}

fn whole_life(house: &mut House, call: CloneCall, random: &mut Random) {
    assert_eq!(
        house.snapshots.ability(&house.repository()),
        Ability::Yes(call)
    );
    let path = house.disk("disk.img");
    let mut bytes = noise(random, 6 << 20);
    bytes[1 << 20..2 << 20].fill(0);
    fs::write(&path, &bytes).unwrap();
    let disk = File::options().read(true).write(true).open(&path).unwrap();

    let first = house.take(&path);
    sealed(&first, &bytes);
    full_copy(house, &first, &bytes);

    let older = bytes.clone();
    change(&disk, &mut bytes, random);
    let second = house.take(&path);
    sealed(&second, &bytes);
    assert_eq!(fs::read(file_of(&first)).unwrap(), older);
    compared(house, &first, &second, &older, &bytes);
    assert!(matches!(
        house.compare(&second, &first, Refine::Auto),
        Err(SnapshotError::BaseNotOlder { .. })
    ));

    drop(disk);
    // As after a restart on a node that has lost its index.
    house.move_out_and_in(MsFlags::empty());
    compared(house, &first, &second, &older, &bytes);
    tampered(house, &second);
    gone(house, &path, &first, &second);
    fs::remove_file(&path).unwrap();
    println!("  {call:?}: created, sealed, compared, read, remounted, deleted");
}

/// A guest at work, on its disk and in memory.
fn change(disk: &File, bytes: &mut Vec<u8>, random: &mut Random) {
    let new = noise(random, 5000);
    disk.write_all_at(&new, 3_000_001).unwrap();
    bytes[3_000_001..3_005_001].copy_from_slice(&new);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(disk, flags, 4 << 20, 1 << 20).unwrap();
    bytes[4 << 20..5 << 20].fill(0);
    disk.set_len(7 << 20).unwrap();
    bytes.resize(7 << 20, 0);
}

fn sealed(snapshot: &Snapshot, bytes: &[u8]) {
    let path = file_of(snapshot);
    let disk = &snapshot.manifest.disks[0];
    assert!(disk.sealed, "{:?}", snapshot.manifest.warnings);
    assert!(snapshot.manifest.warnings.is_empty());
    assert!(disk.extents > 0);
    assert!(fs::read(&path).unwrap() == bytes);
    for error in [
        refused(fs::remove_file(&path)),
        refused(fs::rename(&path, path.with_extension("moved"))),
        refused(File::options().write(true).open(&path)),
        refused(File::options().append(true).open(&path)),
    ] {
        assert_eq!(error, libc::EPERM);
    }
    let mut rm = Command::new("/bin/busybox");
    let output = rm.args(["rm", "-f"]).arg(&path).output().unwrap();
    assert!(!output.status.success() && path.exists());
}

fn full_copy(house: &House, snapshot: &Snapshot, bytes: &[u8]) {
    let full = house.snapshots.allocated(snapshot.clone()).unwrap();
    let ranges = &full.disks[0].ranges;
    let mut copy = vec![0; bytes.len()];
    replica::fetch(snapshot, ranges, &mut copy);
    assert!(copy == bytes, "a full copy differs");
}

fn compared(house: &House, base: &Snapshot, now: &Snapshot, older: &[u8], bytes: &[u8]) {
    for refine in [Refine::None, Refine::Auto, Refine::Blocks] {
        let comparison = house.compare(base, now, refine).unwrap();
        let tally = replica::apply(&comparison, older, bytes);
        assert_eq!(tally.missed, 0, "{refine:?}");
        if refine != Refine::None {
            assert!(tally.named <= tally.changed, "{refine:?}: {tally:?}");
        }
    }
}

/// Written to behind our back, it is not trusted any more.
fn tampered(house: &House, snapshot: &Snapshot) {
    let path = file_of(snapshot);
    let file = File::open(&path).unwrap();
    attributes::set(&file, IMMUTABLE, false).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    writer.write_all_at(b"x", 0).unwrap();
    writer.sync_all().unwrap();
    attributes::set(&file, IMMUTABLE, true).unwrap();
    assert!(matches!(
        house.snapshots.allocated(snapshot.clone()),
        Err(SnapshotError::Changed { .. })
    ));
}

fn gone(house: &House, disk: &Path, first: &Snapshot, second: &Snapshot) {
    // Who reads it keeps the file.
    let reader = first.open(&first.manifest.disks[0]).unwrap();
    house.delete(first).unwrap();
    house.delete(first).unwrap();
    assert!(matches!(
        house.compare(first, second, Refine::Auto),
        Err(SnapshotError::BaseGone { .. })
    ));
    assert_eq!(reader.size(), 6 << 20);
    drop(reader);
    assert_eq!(house.shelf(), [second.id().to_string()]);
    house.take(disk);
    house.delete_all().unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
    assert!(house.snapshots.recover().unwrap().is_nothing());
}
