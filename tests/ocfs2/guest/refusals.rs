//! Where snapshots cannot be made: said clearly, and nothing left behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::{Ability, Refine, Snapshot, SnapshotError};
use coriolis_ovm_exporter::sys::file_system::{self, Kind};
use nix::mount::{MsFlags, mount, umount};

use super::house::{House, file_of, try_create};
use super::{clones, noise, replica};
use crate::brief::{self, Brief};

pub fn run(brief: &Brief) {
    let (bad, good) = brief.disks.split_last().unwrap();
    no_refcount(bad);
    another_file_system();
    for disk in good {
        println!("clusters of {} KiB:", disk.cluster >> 10);
        read_only(disk);
        full(disk, &mut Random::new(brief.seed));
    }
}

fn incompatible(result: Result<Snapshot, SnapshotError>) -> String {
    match result {
        Err(error @ SnapshotError::Incompatible { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn no_refcount(disk: &brief::Disk) {
    let house = House::on(disk);
    println!("{} without refcount:", house.mount.kind());
    clones::impossible(house.root());
    let ability = house.snapshots.ability(&house.repository());
    assert!(matches!(ability, Ability::No(_)), "{ability:?}");
    let path = house.disk("disk.img");
    fs::write(&path, [7; 8192]).unwrap();
    let said = incompatible(house.try_take(&path));
    assert!(said.contains("does not clone files"), "{said}");
    assert_eq!(house.shelf(), Vec::<String>::new());
    println!("  {said}");
}

fn another_file_system() {
    let point = PathBuf::from("/OVS/Repositories/other");
    fs::create_dir_all(&point).unwrap();
    mount(
        Some("tmpfs"),
        &point,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    let status = file_system::status(&File::open(&point).unwrap()).unwrap();
    assert!(matches!(status.kind, Kind::Other(_)));
    println!("{}:", status.kind);
    clones::impossible(&point);
    umount(&point).unwrap();
}

/// A snapshot of before is of use; none can be made or removed.
fn read_only(disk: &brief::Disk) {
    let mut house = House::on(disk);
    let path = house.disk("disk.img");
    let older = noise(&mut Random::new(1), 2 << 20);
    super::write(&path, &older);
    let first = house.take(&path);
    let mut newer = older.clone();
    newer[5000..6000].fill(1);
    super::write(&path, &newer);
    let second = house.take(&path);
    let shelf = house.shelf().len();

    house.move_out_and_in(MsFlags::MS_RDONLY);
    assert!(house.repository().status().unwrap().read_only);
    let comparison = house.compare(&first, &second, Refine::Auto).unwrap();
    assert_eq!(replica::apply(&comparison, &older, &newer).missed, 0);
    let said = incompatible(house.try_take(&path));
    assert!(said.contains("Read-only file system"), "{said}");
    println!("  read-only: {said}");
    let error = house.delete(&first).unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
    println!("  read-only: {error}");
    assert_eq!(house.shelf().len(), shelf);
    assert!(fs::read(file_of(&first)).unwrap() == older);

    house.move_out_and_in(MsFlags::empty());
    house.delete(&first).unwrap();
    house.delete(&second).unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
    fs::remove_file(&path).unwrap();
}

/// No snapshot below the head room; without head room it works or leaves nothing; snapshots can
/// be read and removed when there is next to nothing left.
fn full(disk: &brief::Disk, random: &mut Random) {
    let house = House::on(disk);
    let path = house.disk("disk.img");
    let bytes = noise(random, 8 << 20);
    super::write(&path, &bytes);
    let first = house.take(&path);
    // That clones can be made is found out while there is room.
    let (greedy, _index) = house.without_head_room();
    let ability = greedy.ability(&house.repository());
    assert!(matches!(ability, Ability::Yes(_)), "{ability:?}");
    let fillers = fill(&house);
    let available = house.repository().status().unwrap().available;
    println!("  full: {available} bytes are free");
    match house.try_take(&path) {
        Err(error @ SnapshotError::NoSpace { .. }) => println!("  full: {error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(house.shelf(), [first.id().to_string()]);

    match try_create(&greedy, &house.subject(&path)) {
        Ok(second) => {
            println!("  full, min_free = 0: made");
            assert!(fs::read(file_of(&second)).unwrap() == bytes);
            house.delete(&second).unwrap();
        }
        Err(error) => println!("  full, min_free = 0: {error}"),
    }
    let recovered = house.snapshots.recover().unwrap();
    assert!(recovered.is_nothing(), "{recovered:?}");
    assert_eq!(house.shelf(), [first.id().to_string()]);

    // The guest's write needs new space now: it fails, and harms nobody.
    let written = overwrite(&path, random);
    println!("  full: a guest's write to a shared extent: {written:?}");
    assert!(fs::read(file_of(&first)).unwrap() == bytes);
    house.delete(&first).unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
    freed(&house, &path, fillers);
    fs::remove_file(&path).unwrap();
}

/// OCFS2 gives back what is deleted some seconds later, and counts it as used until then: a snapshot
/// can be taken at once all the same.
fn freed(house: &House, path: &Path, fillers: Vec<PathBuf>) {
    let available = || house.repository().status().unwrap().available;
    for filler in fillers {
        fs::remove_file(filler).unwrap();
    }
    let counted = available();
    let snapshot = house.take(path);
    println!(
        "  freed: {counted} bytes, when it was deleted; {} with a snapshot",
        available()
    );
    house.delete(&snapshot).unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
}

/// Takes all the space there is, in ever smaller pieces.
fn fill(house: &House) -> Vec<PathBuf> {
    let mut fillers = Vec::new();
    for step in [1 << 20, 4096, 4096, 4096, 4096] {
        let path = house.disk(&format!("filler-{}", fillers.len()));
        let Ok(mut file) = File::create_new(&path) else {
            break;
        };
        let bytes = vec![7; step];
        while file.write_all(&bytes).is_ok() {}
        // What it could not write was said by the write.
        let _ = file.sync_all();
        fillers.push(path);
    }
    fillers
}

fn overwrite(path: &Path, random: &mut Random) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(&noise(random, 1 << 20))?;
    file.sync_all()
}
