//! Random work of a guest between snapshots: every comparison is applied to a replica.

use std::fs;
use std::path::PathBuf;

use coriolis_ovm_exporter::snapshots::{Refine, Snapshot};

use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::guest::Guest;
use super::house::{House, disk_in, file_of, must, shelf_of, text};
use super::replica::{self, Tally};
use super::seed::Seed;

/// How many snapshots are kept; older and newer ones go at random.
const ALIVE: usize = 10;

#[test]
fn replicas_stay_identical_on_xfs() {
    run(Kind::Xfs);
}

#[test]
fn replicas_stay_identical_on_btrfs() {
    run(Kind::Btrfs);
}

#[test]
fn replicas_stay_identical_on_btrfs_nocow() {
    run(Kind::BtrfsNocow);
}

#[test]
fn replicas_stay_identical_on_btrfs_compressed() {
    run(Kind::BtrfsCompressed);
}

/// A snapshot, and its bytes when it was taken.
struct Taken {
    snapshot: Snapshot,
    bytes: Vec<u8>,
}

fn run(kind: Kind) {
    let seed = Seed::choose();
    let ground = kind.make(2 << 30);
    let house = House::over(&[&ground]);
    let mut guest = Guest::new(kind, disk_in(&ground, "disk.img"), seed.random());
    let pairs = u64::from(count(40, 1250));
    let mut alive: Vec<Taken> = Vec::new();
    let mut tally = Tally::default();
    while tally.pairs < pairs {
        let older: Option<PathBuf> = (!alive.is_empty())
            .then(|| guest.below(alive.len()))
            .map(|at| file_of(&alive[at].snapshot));
        guest.work(older.as_deref());
        let live = guest.bytes();
        let snapshot = house.take(guest.path());
        let bytes = fs::read(file_of(&snapshot)).unwrap();
        assert!(bytes == live, "{}", report(&guest, "the clone differs"));
        full_copy(&house, &snapshot, &bytes);
        let taken = Taken { snapshot, bytes };
        let mut bases: Vec<usize> = alive.len().checked_sub(1).into_iter().collect();
        if alive.len() > 1 {
            bases.push(guest.below(alive.len() - 1));
        }
        for base in bases {
            tally.add(pair(&house, &mut guest, &alive[base], &taken));
        }
        alive.push(taken);
        if alive.len() > ALIVE {
            let gone = alive.remove(guest.below(ALIVE)).snapshot;
            house.delete(&gone).unwrap();
            assert!(!shelf_of(&ground).contains(&gone.id().to_string()));
        }
    }
    house.delete_all().unwrap();
    assert_eq!(shelf_of(&ground), Vec::<String>::new());
    tally.report(&format!("{kind:?}, seed {}", seed.0));
    assert!(tally.changed > 0, "the guests changed nothing");
}

/// Compares two snapshots and brings a replica up to date.
fn pair(house: &House, guest: &mut Guest, base: &Taken, now: &Taken) -> Tally {
    let refine = [Refine::None, Refine::Auto, Refine::Blocks][guest.below(3)];
    let comparison = house
        .compare(&base.snapshot, &now.snapshot, refine)
        .unwrap();
    let tally = replica::apply(&comparison, &comparison.disks[0], &base.bytes, &now.bytes);
    if tally.missed > 0 {
        panic!(
            "{}\nbase {}\nnow {}\nnamed {:?}",
            report(guest, &format!("{refine:?}: {} bytes missed", tally.missed)),
            map(&base.snapshot),
            map(&now.snapshot),
            comparison.disks[0].ranges
        );
    }
    if refine == Refine::Blocks {
        assert!(
            tally.named <= tally.changed_blocks,
            "more than the blocks that differ: {tally:?}"
        );
    }
    tally
}

/// A replica of nothing is complete after a full copy.
fn full_copy(house: &House, snapshot: &Snapshot, bytes: &[u8]) {
    let full = house.snapshots.allocated(snapshot.clone()).unwrap();
    let mut replica = vec![0; bytes.len()];
    replica::fetch(&full.snapshot, &full.disks[0], &mut replica);
    assert!(replica == bytes, "a full copy differs");
}

fn report(guest: &Guest, what: &str) -> String {
    format!("{what}; since the last snapshot: {:#?}", guest.story)
}

fn map(snapshot: &Snapshot) -> String {
    must(
        "xfs_io",
        &["-r", "-c", "fiemap -v", text(&file_of(snapshot))],
    )
}
