//! A machine with disks in two repositories: one snapshot, or none.

use std::fs;
use std::path::PathBuf;

use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::snapshots::{Refine, Snapshot, SnapshotError, Standing};

use super::super::support::disk;
use super::super::support::node::Kind;
use super::house::{House, VM, disk_in, shelf_of};
use super::replica;

/// A machine with a disk on XFS and one on btrfs.
struct Pair {
    grounds: [Ground; 2],
    house: House,
    disks: [PathBuf; 2],
}

impl Pair {
    fn new() -> Pair {
        let grounds = [Kind::Xfs.make(512 << 20), Kind::Btrfs.make(512 << 20)];
        let disks = [
            disk_in(&grounds[0], "system.img"),
            disk_in(&grounds[1], "data.img"),
        ];
        fs::write(&disks[0], vec![1; 3 << 20]).unwrap();
        fs::write(&disks[1], vec![2; 2 << 20]).unwrap();
        Pair {
            house: House::over(&[&grounds[0], &grounds[1]]),
            grounds,
            disks,
        }
    }

    fn take(&self) -> Result<Snapshot, SnapshotError> {
        let [system, data] = &self.disks;
        self.house
            .try_create(&self.house.subject(&[(0, system), (1, data)]))
    }

    fn unmount(&mut self, at: usize) {
        self.grounds[at].mount().unwrap().unmount().unwrap();
    }

    fn mount(&mut self, at: usize) {
        self.grounds[at].mount().unwrap().mount().unwrap();
    }

    fn assert_exact(&self, older: &Snapshot, newer: &Snapshot) {
        let comparison = self.house.compare(older, newer, Refine::Auto).unwrap();
        assert_eq!(comparison.disks.len(), 2);
        for disk in &comparison.disks {
            let base = older.disk(&disk.disk.name).unwrap();
            let before = fs::read(older.path(base).unwrap()).unwrap();
            let now = fs::read(&disk.path).unwrap();
            let tally = replica::apply(&comparison, disk, &before, &now);
            assert_eq!(tally.missed, 0);
            assert!(tally.named > 0 && tally.named < now.len() as u64);
        }
    }
}

#[test]
fn one_id_and_a_manifest_in_each() {
    let pair = Pair::new();
    let older = pair.take().unwrap();
    assert_eq!(older.standing, Standing::Ready);
    assert_eq!(older.manifest.disks.len(), 2);
    let [one, other] = [0, 1].map(|at| {
        let folder = pair.grounds[at]
            .repository()
            .join("CoriolisSnapshots")
            .join(older.id().to_string());
        let disk = pair.disks[at].file_name().unwrap();
        let other = pair.disks[1 - at].file_name().unwrap();
        assert!(folder.join(disk).exists() && !folder.join(other).exists());
        fs::read(folder.join("manifest.json")).unwrap()
    });
    assert_eq!(one, other);
    for disk in &pair.disks {
        let mut bytes = fs::read(disk).unwrap();
        bytes[70_000..80_000].fill(9);
        // All of it is written, and only this stretch is new.
        fs::write(disk, bytes).unwrap();
    }
    let newer = pair.take().unwrap();
    let comparison = pair.house.compare(&older, &newer, Refine::Blocks).unwrap();
    for disk in &comparison.disks {
        let base = older.path(older.disk(&disk.disk.name).unwrap()).unwrap();
        let (before, now) = (fs::read(base).unwrap(), fs::read(&disk.path).unwrap());
        let tally = replica::apply(&comparison, disk, &before, &now);
        assert_eq!((tally.missed, tally.named), (0, 12_288));
    }
    pair.house.delete(&older).unwrap();
    pair.house.delete_all().unwrap();
    assert!(
        pair.grounds
            .iter()
            .all(|ground| shelf_of(ground).is_empty())
    );
}

#[test]
fn a_copy_that_does_not_say_ready_is_waited_for() {
    let mut pair = Pair::new();
    let snapshot = pair.take().unwrap();
    let folder = pair.grounds[1].repository().join("CoriolisSnapshots");
    let manifest = folder.join(snapshot.id().to_string()).join("manifest.json");
    let said = fs::read_to_string(&manifest).unwrap();
    let clear = std::process::Command::new("chattr")
        .arg("-i")
        .arg(&manifest)
        .status();
    assert!(clear.unwrap().success());
    fs::write(&manifest, said.replace("\"ready\"", "\"creating\"")).unwrap();
    for _ in 0..2 {
        let found = pair.house.find(&snapshot).unwrap();
        assert_eq!(found.standing, Standing::Creating);
        assert!(matches!(
            found.ready(),
            Err(SnapshotError::Unavailable { .. })
        ));
        pair.house.reopen();
    }
    // As a crash between the two copies leaves it: nobody was told the id, so it is undone.
    let recovered = pair.house.snapshots.recover().unwrap();
    assert_eq!(recovered.undone, [snapshot.id()]);
    assert!(
        pair.grounds
            .iter()
            .all(|ground| shelf_of(ground).is_empty())
    );
}

#[test]
fn a_repository_that_is_not_mounted_is_waited_for() {
    for gone in [0, 1] {
        for restarted in [false, true] {
            let mut pair = Pair::new();
            let older = pair.take().unwrap();
            for disk in &pair.disks {
                disk::write(disk, 9000, &[5; 5000]);
            }
            let newer = pair.take().unwrap();
            pair.unmount(gone);
            if restarted {
                pair.house.reopen();
            }
            assert_waiting(&pair, &older, &newer, gone);
            // It does not depend on what was asked before either.
            assert_waiting(&pair, &older, &newer, gone);
            let refused = pair.take().unwrap_err();
            assert!(
                matches!(&refused, SnapshotError::Incompatible { reason, .. } if reason.contains("mounted")),
                "{refused:?}"
            );
            assert!(pair.house.snapshots.recover().unwrap().is_nothing());

            pair.mount(gone);
            for snapshot in [&older, &newer] {
                let found = pair.house.find(snapshot).unwrap();
                assert_eq!(found.standing, Standing::Ready);
            }
            pair.assert_exact(&older, &newer);
            pair.house.delete(&older).unwrap();
            pair.house.delete(&newer).unwrap();
            for ground in &pair.grounds {
                assert_eq!(shelf_of(ground), Vec::<String>::new());
            }
        }
    }
}

/// Neither listed as ready, nor read, nor compared, nor deleted: and the reason is said.
fn assert_waiting(pair: &Pair, older: &Snapshot, newer: &Snapshot, gone: usize) {
    let repository = pair.house.repository(gone).id;
    let all = pair.house.snapshots.all(Some(VM)).unwrap();
    assert_eq!(all.len(), 2, "they are still known");
    for snapshot in all {
        assert!(
            matches!(&snapshot.standing, Standing::Waiting(reason) if reason.contains(&repository)),
            "{:?}",
            snapshot.standing
        );
    }
    let waits = |error: SnapshotError| {
        assert!(
            matches!(&error, SnapshotError::Unavailable { reason, .. } if reason.contains(&repository)),
            "{error:?}"
        );
    };
    waits(pair.house.find(newer).unwrap().ready().unwrap_err());
    waits(pair.house.compare(older, newer, Refine::Auto).unwrap_err());
    waits(pair.house.delete(older).unwrap_err());
    waits(pair.house.delete_all().unwrap_err());
    // Nothing of the half that is there was touched.
    assert_eq!(shelf_of(&pair.grounds[1 - gone]).len(), 2);
}

#[test]
fn the_only_repository_is_not_mounted() {
    let mut ground = Kind::Xfs.make(512 << 20);
    let mut house = House::over(&[&ground]);
    let disk = disk_in(&ground, "disk.img");
    fs::write(&disk, vec![1; 1 << 20]).unwrap();
    let snapshot = house.take(&disk);
    ground.mount().unwrap().unmount().unwrap();
    for _ in 0..2 {
        let found = house.find(&snapshot).unwrap();
        assert!(
            matches!(found.standing, Standing::Waiting(_)),
            "{:?}",
            found.standing
        );
        let refused = house.delete(&snapshot);
        assert!(
            matches!(refused, Err(SnapshotError::Unavailable { .. })),
            "{refused:?}"
        );
        house.reopen();
    }
    ground.mount().unwrap().mount().unwrap();
    let found = house.find(&snapshot).unwrap();
    assert_eq!(found.standing, Standing::Ready);
    found.open(&found.manifest.disks[0]).unwrap();
    house.delete(&snapshot).unwrap();
}
