//! The immutable flag on snapshot files.

use std::fs;
use std::os::unix::fs::FileExt;

use coriolis_ovm_exporter::config;

use super::super::support::node::Kind;
use super::house::{House, disk_in, file_of, must, places, shelf_of, shell, text};

#[test]
fn a_snapshot_file_cannot_be_removed_by_hand() {
    for kind in Kind::CLONING {
        let ground = kind.make(512 << 20);
        let house = House::over(&[&ground]);
        let disk = disk_in(&ground, "disk.img");
        fs::write(&disk, vec![3; 1 << 20]).unwrap();
        let snapshot = house.take(&disk);
        let file = file_of(&snapshot);
        let flags = must("lsattr", &[text(&file)]);
        assert!(
            flags.split_whitespace().next().unwrap().contains('i'),
            "{flags}"
        );
        assert_eq!(
            flags.split_whitespace().next().unwrap().contains('C'),
            kind == Kind::BtrfsNocow
        );
        assert!(snapshot.manifest.disks[0].sealed);
        assert_eq!(snapshot.manifest.warnings, Vec::<String>::new());
        let elsewhere = disk_in(&ground, "elsewhere.img");
        for command in [
            vec!["rm", "-f", text(&file)],
            vec!["mv", text(&file), text(&elsewhere)],
            vec!["truncate", "-s", "0", text(&file)],
            vec!["touch", text(&file)],
        ] {
            let (said, worked) = shell(command[0], &command[1..]);
            assert!(
                !worked && said.contains("not permitted"),
                "{command:?}: {said}"
            );
        }
        // The guest's disk is not sealed.
        assert!(
            !must("lsattr", &[text(&disk)])
                .split_whitespace()
                .next()
                .unwrap()
                .contains('i')
        );
        fs::write(&disk, vec![4; 1 << 20]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), vec![3; 1 << 20]);
        house.delete(&snapshot).unwrap();
        assert!(shelf_of(&ground).is_empty());
    }
}

#[test]
fn without_the_flag_the_manifest_warns() {
    let ground = Kind::Xfs.make(512 << 20);
    let settings = config::Snapshots {
        immutable: false,
        ..config::Snapshots::default()
    };
    let house = House::with(&[&ground], settings);
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![3; 1 << 20]).unwrap();
    let snapshot = house.take(&disk);
    let file = file_of(&snapshot);
    assert!(
        !must("lsattr", &[text(&file)])
            .split_whitespace()
            .next()
            .unwrap()
            .contains('i')
    );
    assert!(!snapshot.manifest.disks[0].sealed);
    let warnings = &snapshot.manifest.warnings;
    assert!(
        warnings.len() == 1
            && warnings[0].contains("disk.img")
            && warnings[0].contains("immutable = false"),
        "{warnings:?}"
    );
    let written = fs::read_to_string(file.with_file_name("manifest.json")).unwrap();
    assert!(written.contains("immutable = false"), "{written}");
    house.delete(&snapshot).unwrap();
}

#[test]
fn the_manifest_has_the_number_of_extents() {
    for kind in Kind::CLONING {
        let ground = kind.make(512 << 20);
        let house = House::over(&[&ground]);
        let disk = disk_in(&ground, "disk.img");
        let file = fs::File::create(&disk).unwrap();
        for at in 0..700 {
            file.write_all_at(&[7; 4096], at * 12_288).unwrap();
        }
        // The newest are not allocated yet where nobody has asked for it.
        let snapshot = house.take(&disk);
        let counted = snapshot.manifest.disks[0].extents;
        assert_eq!(
            counted,
            places(&file_of(&snapshot)).len() as u64,
            "{kind:?}"
        );
        assert!(counted > 0);
        house.delete(&snapshot).unwrap();
    }
}
