//! A repository that comes back on another device stays comparable.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use coriolis_ovm_exporter::snapshots::{Method, Refine, SnapshotError};
use rand::Rng;

use super::super::support::disk;
use super::super::support::node::Kind;
use super::house::{House, disk_in, must, shell, text};
use super::replica;
use super::seed::Seed;

#[test]
fn another_loop_device_changes_nothing_on_xfs() {
    run(Kind::Xfs);
}

#[test]
fn another_loop_device_changes_nothing_on_btrfs() {
    run(Kind::Btrfs);
}

fn run(kind: Kind) {
    let seed = Seed::choose();
    let mut random = seed.random();
    let mut ground = kind.make(1 << 30);
    let mut house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    let mut bytes = vec![0; 16 << 20];
    random.fill_bytes(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let base = house.take(&path);
    write_some(&path, 0x11, 3 << 20);

    let point = ground.repository();
    let source = || {
        must(
            "findmnt",
            &["-n", "-o", "SOURCE", "--mountpoint", text(&point)],
        )
    };
    let (before, device_before) = (source(), fs::metadata(&point).unwrap().dev());
    let decoys: Vec<_> = (0..4)
        .map(|at| {
            let decoy = ground.path().join(format!("decoy-{at}"));
            File::create(&decoy).unwrap().set_len(1 << 20).unwrap();
            decoy
        })
        .collect();
    ground.mount().unwrap().unmount().unwrap();
    // The device is free now, or soon: other loop devices take its number.
    let mut taken = Vec::new();
    for decoy in &decoys {
        taken.push(must("losetup", &["--find", "--show", text(decoy)]));
        if taken.last() == Some(&before) {
            break;
        }
    }
    let mounted = ground.mount().unwrap().mount();
    let after = mounted.as_ref().map(|()| source());
    for device in &taken {
        shell("losetup", &["--detach", device.trim()]);
    }
    mounted.as_ref().unwrap();
    assert_ne!(after.unwrap(), before, "it came back on the same device");
    eprintln!(
        "{kind:?}: device {device_before:#x} before, {:#x} after",
        fs::metadata(&point).unwrap().dev()
    );

    write_some(&path, 0x22, 7 << 20);
    for restarted in [false, true] {
        if restarted {
            house.reopen();
        }
        let newer = house.take(&path);
        let comparison = house.compare(&base, &newer, Refine::None).unwrap();
        assert_eq!(comparison.disks[0].method, Method::Extents);
        let tally = replica::exact(&comparison, &base.path(&base.manifest.disks[0]).unwrap());
        assert_eq!(tally.named, 2 * 65_536, "{:?}", comparison.disks[0].ranges);
    }
}

fn write_some(path: &std::path::Path, byte: u8, offset: u64) {
    disk::write(path, offset, &[byte; 65_536]);
}

/// That a snapshot is gone would have its client copy everything anew.
#[test]
fn a_base_whose_repository_is_unmounted_is_not_said_to_be_gone() {
    let mut ground = Kind::Xfs.make(512 << 20);
    let house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    fs::write(&path, [7; 8192]).unwrap();
    let snapshot = house.take(&path);
    let found = house.find(&snapshot).unwrap();
    ground.mount().unwrap().unmount().unwrap();
    let error = found.open(&found.manifest.disks[0]).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Unavailable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("unmounted"), "{error}");
    ground.mount().unwrap().mount().unwrap();
    found.open(&found.manifest.disks[0]).unwrap();
}
