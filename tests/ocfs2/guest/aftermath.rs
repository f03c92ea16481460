//! What must be true once recovery has run, whatever has happened before.

use std::collections::BTreeSet;
use std::fs::{self, File};

use coriolis_ovm_exporter::snapshots::manifest::State;
use coriolis_ovm_exporter::snapshots::{Snapshot, Standing};
use coriolis_ovm_exporter::sys::attributes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::estate::Estate;
use super::replica;
use crate::wire::Sums;

/// Recovers as the daemon does when it starts, and sees that nothing half-made is left: only whole
/// snapshots, and in their directories nothing but what belongs there. Gives how many directories
/// had something done to them, and the snapshots.
pub fn recover(estate: &Estate) -> (usize, Vec<Snapshot>) {
    estate.snapshots.remove_scratch();
    let recovered = estate.snapshots.recover().unwrap();
    let recovered = [
        recovered.undone,
        recovered.finished,
        recovered.cleared,
        recovered.mended,
    ]
    .concat()
    .len();
    let again = estate.snapshots.recover().unwrap();
    assert!(again.is_nothing(), "{again:?}");
    let warnings = estate.snapshots.refresh(&estate.repositories()).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let all = estate.snapshots.all(None).unwrap();
    for snapshot in &all {
        assert_eq!(snapshot.standing, Standing::Ready, "{}", snapshot.id());
    }
    for repository in 0..estate.mounts.len() {
        nothing_else(estate, repository, &all);
    }
    (recovered, all)
}

fn nothing_else(estate: &Estate, repository: usize, all: &[Snapshot]) {
    let root = estate.root(repository).join("CoriolisSnapshots");
    let here = root.parent().unwrap().file_name().unwrap();
    let here = here.to_str().unwrap();
    let expected: BTreeSet<String> = all
        .iter()
        .filter(|snapshot| {
            let mut places = snapshot.manifest.repositories.iter();
            places.any(|place| place.repository == here)
        })
        .map(|snapshot| snapshot.id().to_string())
        .collect();
    assert_eq!(names(&root), expected);
    for snapshot in all
        .iter()
        .filter(|snapshot| expected.contains(&snapshot.id().to_string()))
    {
        let directory = root.join(snapshot.id().to_string());
        let bytes = fs::read(directory.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let ready = serde_json::to_value(State::Ready).unwrap();
        assert_eq!(manifest["state"], ready, "{}", directory.display());
        let mut files: BTreeSet<String> = [".deleting.json", "manifest.json"]
            .map(str::to_owned)
            .into();
        for disk in &snapshot.manifest.disks {
            assert!(disk.sealed);
            if disk.repository == here {
                files.insert(disk.name.clone());
            }
        }
        for name in &files {
            let path = directory.join(name);
            let file = File::open(&path).unwrap();
            assert!(attributes::is_immutable(&file), "{}", path.display());
        }
        assert_eq!(names(&directory), files, "{}", directory.display());
    }
}

fn names(directory: &std::path::Path) -> BTreeSet<String> {
    let Ok(items) = fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    items
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The bytes of every disk, read as the daemon does.
pub fn bytes(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let disks = &snapshot.manifest.disks;
    disks
        .iter()
        .map(|disk| replica::read(snapshot, disk))
        .collect()
}

pub fn sums(disks: &[Vec<u8>]) -> Sums {
    disks
        .iter()
        .map(|bytes| {
            Sha256::digest(bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
        .collect()
}

/// Compares, brings a replica up to date by it, and gives how many snapshots' disks that were.
pub fn compare(estate: &Estate, vm: &str, base: Uuid, now: Uuid) {
    let find = |id: Uuid| estate.snapshots.find(vm, &id.to_string()).unwrap();
    let (older, newer) = (bytes(&find(base)), bytes(&find(now)));
    let comparison = estate
        .snapshots
        .compare(find(now), &base.to_string(), Default::default(), || true)
        .unwrap();
    assert_eq!(comparison.disks.len(), newer.len());
    for at in 0..newer.len() {
        let tally = replica::apply_disk(&comparison, at, &older[at], &newer[at]);
        assert_eq!(tally.missed, 0, "disk {at} of {now} since {base}");
    }
}
