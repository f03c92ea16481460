//! What cannot be snapshotted is refused, with the reason, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use coriolis_ovm_exporter::config::{self, MinFree};
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::snapshots::{Ability, Refine, SnapshotError};

use super::super::support::node::Kind;
use super::house::{House, VM, disk_in, must, shelf_of, text};
use super::replica;

fn incompatible(house: &House, disk: &Path, reason: &str) {
    let refused = house.try_create(&house.subject(&[(0, disk)]));
    match refused {
        Err(SnapshotError::Incompatible {
            vm_id,
            reason: said,
        }) => {
            assert_eq!(vm_id, VM);
            assert!(said.contains(reason), "{said}");
            assert!(said.contains(text(disk)), "it names the disk: {said}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// A repository of 512 MiB with a disk of a megabyte.
fn small(kind: Kind) -> (Ground, House, std::path::PathBuf) {
    let ground = kind.make(512 << 20);
    let house = House::over(&[&ground]);
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![3; 1 << 20]).unwrap();
    (ground, house, disk)
}

#[test]
fn a_file_system_that_cannot_clone() {
    let (ground, house, disk) = small(Kind::Ext4);
    incompatible(&house, &disk, "does not clone files");
    let ability = house.snapshots.ability(&house.repository(0));
    assert!(
        matches!(&ability, Ability::No(reason) if reason.contains("FICLONE")),
        "{ability:?}"
    );
    assert_eq!(shelf_of(&ground), Vec::<String>::new());
}

#[test]
fn disks_that_are_no_regular_files() {
    let (ground, house, disk) = small(Kind::Xfs);
    let path = |name: &str| disk_in(&ground, name);
    fs::create_dir(path("folder.img")).unwrap();
    must("mkfifo", &[text(&path("pipe.img"))]);
    incompatible(&house, &path("folder.img"), "is not a regular file");
    incompatible(&house, &path("pipe.img"), "is not a regular file");
    incompatible(&house, Path::new("/dev/null"), "is not a regular file");
    incompatible(&house, &path("missing.img"), "No such file");
    // One bad disk spoils the whole: no half of a machine.
    let missing = path("missing.img");
    let both = house.subject(&[(0, &disk), (0, &missing)]);
    let refused = house.try_create(&both);
    assert!(matches!(refused, Err(SnapshotError::Incompatible { .. })));
    let none = house.try_create(&house.subject(&[]));
    assert!(matches!(none, Err(SnapshotError::Incompatible { .. })));
    assert_eq!(shelf_of(&ground), Vec::<String>::new());
    assert!(house.snapshots.all(None).unwrap().is_empty());
}

#[test]
fn a_disk_of_another_file_system() {
    let (ground, house, _) = small(Kind::Xfs);
    let other = Kind::Xfs.make(512 << 20);
    let disk = disk_in(&other, "disk.img");
    fs::write(&disk, vec![3; 1 << 20]).unwrap();
    // A symbolic link out of the repository.
    let link = disk_in(&ground, "link.img");
    std::os::unix::fs::symlink(&disk, &link).unwrap();
    let refused = house.try_create(&house.subject(&[(0, &link)]));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(shelf_of(&ground), Vec::<String>::new());
}

#[test]
fn too_little_free_space() {
    let ground = Kind::Xfs.make(512 << 20);
    let settings = config::Snapshots {
        min_free: MinFree::Bytes(400 << 20),
        ..config::Snapshots::default()
    };
    let house = House::with(&[&ground], settings);
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![3; 1 << 20]).unwrap();
    house.take(&disk);
    must(
        "xfs_io",
        &[
            "-f",
            "-c",
            "falloc 0 100m",
            text(&disk_in(&ground, "filler")),
        ],
    );
    let refused = house.try_create(&house.subject(&[(0, &disk)]));
    match refused {
        Err(SnapshotError::NoSpace {
            available,
            required,
            ..
        }) => {
            assert_eq!(required, 400 << 20);
            assert!(available < required);
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(shelf_of(&ground).len(), 1, "the first one is still there");
    // XFS gives the space of a removed file back in its own time, that of a shortened one now.
    fs::File::create(disk_in(&ground, "filler")).unwrap();
    house.take(&disk);
}

#[test]
fn a_full_file_system() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let ground = kind.make(512 << 20);
        let settings = config::Snapshots {
            min_free: MinFree::Bytes(0),
            ..config::Snapshots::default()
        };
        let house = House::with(&[&ground], settings);
        let disk = disk_in(&ground, "disk.img");
        fs::write(&disk, vec![3; 1 << 20]).unwrap();
        let older = house.take(&disk);
        let filler = fill(&ground);
        let made = house.try_create(&house.subject(&[(0, &disk)]));
        eprintln!("{kind:?}, full: {:?}", made.as_ref().err());
        let expected = 1 + usize::from(made.is_ok());
        if let Err(error) = &made {
            let said = error.to_string();
            assert!(
                said.contains("No space left") || said.contains("bytes free"),
                "{said}"
            );
            assert!(said.contains(text(&ground.repository())), "{said}");
        }
        fs::File::create(filler).unwrap();
        must("sync", &["-f", text(&ground.repository())]);
        // Undoing needs a little space too; a restart does what could not be done.
        house.snapshots.recover().unwrap();
        assert_eq!(shelf_of(&ground).len(), expected);
        let newer = house.take(&disk);
        let base = older.path(&older.manifest.disks[0]).unwrap();
        let comparison = house.compare(&older, &newer, Refine::Auto).unwrap();
        replica::exact(&comparison, &base);
        house.delete_all().unwrap();
        assert!(shelf_of(&ground).is_empty());
    }
}

/// Writes until nothing fits any more, down to the last block.
fn fill(ground: &Ground) -> std::path::PathBuf {
    let path = disk_in(ground, "filler");
    let file = fs::File::create_new(&path).unwrap();
    let mut at = 0;
    for step in [1 << 20, 65_536, 4096] {
        let bytes = vec![0xAB; step];
        while file.write_all_at(&bytes, at).is_ok() {
            at += step as u64;
            if file.sync_data().is_err() {
                break;
            }
        }
    }
    path
}

#[test]
fn a_file_system_mounted_read_only() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let (ground, mut house, disk) = small(kind);
        let older = house.take(&disk);
        let point = ground.repository();
        must("mount", &["-o", "remount,ro", text(&point)]);
        for probed_before in [true, false] {
            if !probed_before {
                house.reopen();
                let ability = house.snapshots.ability(&house.repository(0));
                assert!(
                    matches!(&ability, Ability::Unknown(reason) if reason.contains("Read-only")),
                    "{ability:?}"
                );
            }
            let refused = house.try_create(&house.subject(&[(0, &disk)]));
            let said = refused.unwrap_err().to_string();
            assert!(
                said.contains("Read-only file system") && said.contains(text(&point)),
                "{said}"
            );
            let said = house.delete(&older).unwrap_err().to_string();
            assert!(said.contains("Read-only file system"), "{said}");
        }
        // What is there can still be read.
        house
            .snapshots
            .allocated(house.find(&older).unwrap())
            .unwrap();
        must("mount", &["-o", "remount,rw", text(&point)]);
        assert_eq!(shelf_of(&ground), [older.id().to_string()]);
        house.take(&disk);
        house.delete(&older).unwrap();
        assert_eq!(shelf_of(&ground).len(), 1);
    }
}
