//! Disks with space allocated past their end. OCFS2's own reflink makes clones of them whose removal
//! makes the file system read-only: no snapshot is taken of such a disk where there is no other call,
//! and none is deleted that is such a clone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::ovm::vm_config::VmConfig;
use coriolis_ovm_exporter::snapshots::clusters::{self, Miscount};
use coriolis_ovm_exporter::snapshots::{
    Ability, Orphans, Snapshot, SnapshotError, UnmatchedFolder,
};
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use coriolis_ovm_exporter::sys::reflink::{self, CloneCall};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::MsFlags;

use super::house::{House, VM, file_of};
use super::{noise, without_ficlone};
use crate::brief::Brief;

/// Not a whole number of clusters.
const SIZE: u64 = (6 << 20) + 12_345;
const MIB: u64 = 1 << 20;

/// Where the first boot leaves what only `fsck.ocfs2` can mend.
const DAMAGED: &str = "damaged.img";
const ORPHANED: &str = "orphaned.img";

pub fn run(brief: &Brief) {
    let (last, good) = brief.disks.split_last().unwrap();
    let is_first_boot = brief.disks.len() == 3;
    let disks = if is_first_boot {
        good
    } else {
        &brief.disks[..]
    };
    for disk in disks {
        println!("clusters of {} KiB:", disk.cluster >> 10);
        let mut house = House::on(disk);
        if is_first_boot {
            with_ficlone(&house, &mut Random::new(brief.seed));
            // Another index, so that the clone is tried anew.
            house.move_out_and_in(MsFlags::empty());
            without_ficlone::run(|| {
                refused(&house, &mut Random::new(brief.seed));
                damaged(&mut house, disk.cluster, &mut Random::new(brief.seed));
            });
        } else {
            mended(&house);
        }
        is_writable(&house);
    }
    if is_first_boot {
        harm(&mut House::on(last));
    }
}

fn is_writable(house: &House) {
    assert!(!house.repository().status().unwrap().read_only);
    super::write(&house.disk("still-writable"), b"yes");
    fs::remove_file(house.disk("still-writable")).unwrap();
}

fn allocate(file: &File, offset: u64, length: u64) {
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, keep, offset.cast_signed(), length.cast_signed()).unwrap();
}

fn raw_clone(call: CloneCall, source: &Path, target: &Path) -> io::Result<File> {
    let file = File::open(source)?;
    let (clone, _) = reflink::prepare(call, &file, source, target)?
        .run()?
        .open()?;
    Ok(clone)
}

fn new_disk(house: &House, name: &str, random: &mut Random) -> (File, Vec<u8>) {
    let path = house.disk(name);
    let bytes = noise(random, SIZE);
    super::write(&path, &bytes);
    let file = File::options().read(true).write(true).open(path).unwrap();
    (file, bytes)
}

/// FICLONE counts what it clones.
fn with_ficlone(house: &House, random: &mut Random) {
    let path = house.disk("disk.img");
    let (file, bytes) = new_disk(house, "disk.img", random);
    allocate(&file, SIZE + MIB, 4 * MIB);
    let ability = house.snapshots.ability(&house.repository());
    assert_eq!(ability, Ability::Yes(CloneCall::Ficlone));
    assert_eq!(obstacles(house, &path), Vec::<String>::new());
    let snapshot = house.take(&path);
    assert!(fs::read(file_of(&snapshot)).unwrap() == bytes);
    let clone = File::open(file_of(&snapshot)).unwrap();
    assert_eq!(clusters::miscount(&clone).unwrap(), None);
    drop(clone);
    house.delete(&snapshot).unwrap();
    is_writable(house);
    println!("  FICLONE: taken and deleted");
    fs::remove_file(&path).unwrap();
}

/// Why a machine with that disk alone cannot be snapshotted, as `GET /vms` has it.
fn obstacles(house: &House, path: &Path) -> Vec<String> {
    let text = format!("name = '{VM}'\ndisk = ['file:{},xvda,w']\n", path.display());
    let config = VmConfig::parse(text.as_bytes(), VM).unwrap();
    house
        .snapshots
        .judge(&config, &[house.repository()])
        .into_iter()
        .filter_map(|verdict| verdict.cloneable.err())
        .map(|obstacle| obstacle.reason)
        .collect()
}

fn refused(house: &House, random: &mut Random) {
    let path = house.disk("disk.img");
    let (file, bytes) = new_disk(house, "disk.img", random);
    // As it should be: the rest of the last cluster is nothing past the end.
    assert_eq!(obstacles(house, &path), Vec::<String>::new());
    let snapshot = house.take(&path);
    house.delete(&snapshot).unwrap();

    let right_behind = || allocate(&file, SIZE, 2 * MIB);
    let far_behind = || allocate(&file, SIZE + 9 * MIB, MIB);
    // One extent, of which a part lies past the end: written to, it is several.
    let across = || {
        file.set_len(4 * MIB).unwrap();
        allocate(&file, 4 * MIB, 8 * MIB);
        file.set_len(SIZE).unwrap();
        file.write_all_at(&bytes[4 << 20..], 4 * MIB).unwrap();
    };
    let within_a_hole = || {
        file.set_len(MIB).unwrap();
        file.set_len(SIZE).unwrap();
        allocate(&file, 5 * MIB, 8 * MIB);
    };
    let ways: [(&str, &dyn Fn()); 4] = [
        ("right behind the end", &right_behind),
        ("far behind the end", &far_behind),
        ("across the end", &across),
        ("across the end, in a hole", &within_a_hole),
    ];
    for (what, preallocate) in ways {
        let before = fs::read(&path).unwrap();
        preallocate();
        if what.starts_with("across the end, in") {
            assert_eq!(fs::read(&path).unwrap()[..1 << 20], before[..1 << 20]);
        } else {
            assert!(fs::read(&path).unwrap() == before, "{what}");
        }
        let told = obstacles(house, &path);
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert!(told[0].contains("past its end"), "{what}: {told:?}");
        assert!(told[0].contains("truncate -s +0"), "{what}: {told:?}");
        match house.try_take(&path) {
            Err(error @ SnapshotError::Incompatible { .. }) => {
                let said = error.to_string();
                assert!(said.contains(&told[0]), "{what}: {said}");
                println!("  {what}: {said}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(house.shelf(), Vec::<String>::new(), "{what}");
        is_writable(house);

        // What the message says helps.
        let before = fs::read(&path).unwrap();
        file.set_len(SIZE).unwrap();
        assert!(fs::read(&path).unwrap() == before, "{what}");
        assert_eq!(obstacles(house, &path), Vec::<String>::new(), "{what}");
        let snapshot = house.take(&path);
        assert!(fs::read(file_of(&snapshot)).unwrap() == before, "{what}");
        house.delete(&snapshot).unwrap();
        is_writable(house);
    }
    drop(file);
    fs::remove_file(&path).unwrap();
}

/// Makes a disk that somebody's reflink has made of one with space past its end.
fn damage(house: &House, random: &mut Random) -> (std::path::PathBuf, Vec<u8>) {
    let (source, target) = (house.disk("preallocated.img"), house.disk(DAMAGED));
    let (file, bytes) = new_disk(house, "preallocated.img", random);
    allocate(&file, SIZE.next_multiple_of(MIB) + 2 * MIB, 3 * MIB);
    drop(raw_clone(CloneCall::Ocfs2Reflink, &source, &target).unwrap());
    // The source is as it should be.
    fs::remove_file(&source).unwrap();
    (target, bytes)
}

/// The machine's snapshot, with its file replaced by a clone of a damaged one.
fn with_damaged_file(house: &House, damaged: &Path) -> Snapshot {
    let path = house.disk("disk.img");
    if !path.exists() {
        super::write(&path, &[7; 100_000]);
    }
    let snapshot = house.take(&path);
    let file = file_of(&snapshot);
    attributes::set(&File::open(&file).unwrap(), IMMUTABLE, false).unwrap();
    fs::remove_file(&file).unwrap();
    let clone = raw_clone(CloneCall::Ocfs2Reflink, damaged, &file).unwrap();
    attributes::set(&clone, IMMUTABLE, true).unwrap();
    snapshot
}

fn unremovable(result: Result<(), SnapshotError>) -> String {
    match result {
        Err(error @ SnapshotError::Unremovable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What the first generation, or another hand, has left.
fn damaged(house: &mut House, cluster: u64, random: &mut Random) {
    let (disk, bytes) = damage(house, random);
    let expected = Miscount {
        counted: SIZE.next_multiple_of(cluster) + 3 * MIB,
        mapped: SIZE.next_multiple_of(cluster),
    };
    let look = || clusters::miscount(&File::open(&disk).unwrap()).unwrap();
    assert_eq!(look(), Some(expected));
    match house.try_take(&disk) {
        Err(error @ SnapshotError::Incompatible { .. }) => println!("  {error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(house.shelf(), Vec::<String>::new());

    let ready = with_damaged_file(house, &disk);
    let half_deleted = with_damaged_file(house, &disk);
    let file = file_of(&ready);
    let manifest = |snapshot: &Snapshot| file_of(snapshot).with_file_name("manifest.json");
    let before = fs::read(manifest(&ready)).unwrap();
    println!("  {}", unremovable(house.delete(&ready)));
    unremovable(house.delete_all());
    assert!(fs::read(manifest(&ready)).unwrap() == before);
    assert!(fs::read(&file).unwrap() == bytes);
    is_writable(house);

    purged(house, &disk);

    // As a release left it that did not look before it said so.
    let tombstone = manifest(&half_deleted).with_file_name(".deleting.json");
    for path in [&manifest(&half_deleted), &tombstone] {
        attributes::set(&File::open(path).unwrap(), IMMUTABLE, false).unwrap();
    }
    fs::rename(&tombstone, manifest(&half_deleted)).unwrap();
    for _ in 0..2 {
        let recovered = house.snapshots.recover().unwrap();
        assert!(recovered.is_nothing(), "{recovered:?}");
        assert!(file_of(&half_deleted).exists());
        is_writable(house);
        house.move_out_and_in(MsFlags::empty());
    }
    assert_eq!(look(), Some(expected));
    unremovable(house.delete(&ready));
    assert_eq!(house.shelf().len(), 2);
    println!("  a damaged clone is kept, and the file system with it");
}

/// In a folder that belongs to nobody it is left, too.
fn purged(house: &House, damaged: &Path) {
    let id = uuid::Uuid::new_v4();
    let path = house.root().join(format!("CoriolisSnapshots/{id}"));
    fs::create_dir(&path).unwrap();
    let file = path.join("disk.img");
    drop(raw_clone(CloneCall::Ocfs2Reflink, damaged, &file).unwrap());
    super::write(&path.join("another.img"), &[7; 100_000]);
    let folder = UnmatchedFolder {
        id,
        path: path.clone(),
        files: Vec::new(),
        size: 0,
        bytes: 0,
        reason: String::new(),
    };
    let removed = Orphans::remove(&folder).unwrap();
    assert_eq!(removed.files, 1, "{removed:?}");
    assert_eq!(removed.left.len(), 1, "{removed:?}");
    assert_eq!(removed.left[0].0, file);
    assert!(removed.left[0].1.contains("read-only"), "{removed:?}");
    is_writable(house);
    // Out of the way, for fsck.ocfs2.
    fs::rename(&file, house.disk(ORPHANED)).unwrap();
    fs::remove_dir(&path).unwrap();
}

/// After `fsck.ocfs2`.
fn mended(house: &House) {
    assert_eq!(house.shelf().len(), 2);
    let recovered = house.snapshots.recover().unwrap();
    assert_eq!(recovered.finished.len(), 1, "{recovered:?}");
    house.delete_all().unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
    is_writable(house);
    for name in [DAMAGED, ORPHANED, "disk.img"] {
        fs::remove_file(house.disk(name)).unwrap();
    }
    println!("  after fsck.ocfs2 all of it can be deleted");
}

/// What all of this is about. Where this fails, the kernel has been mended.
fn harm(house: &mut House) {
    let (disk, _) = damage(house, &mut Random::new(1));
    assert!(!house.repository().status().unwrap().read_only);
    let removed = fs::remove_file(&disk);
    let is_read_only = |house: &House| house.repository().status().unwrap().read_only;
    assert!(
        is_read_only(house),
        "removing such a clone does no harm here: {removed:?}"
    );
    // It has no name any more, and the mount's own clearing up meets it again.
    house.move_out_and_in(MsFlags::empty());
    let end = Instant::now() + Duration::from_secs(60);
    while !is_read_only(house) {
        assert!(Instant::now() < end, "the next mount is spared");
        thread::sleep(Duration::from_millis(100));
    }
    println!(
        "removed by hand, such a clone makes the file system read-only, at the next mount too"
    );
}
