//! Snapshots whose blocks were moved since: what the maps say now is what counts.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::snapshots::{Refine, Snapshot};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::house::{House, disk_in, file_of, must, places, shell, text};
use super::replica::{self, Tally};
use super::seed::Seed;

const SIZE: u64 = 32 << 20;
const EVERY: [Refine; 3] = [Refine::None, Refine::Auto, Refine::Blocks];

/// A disk in many pieces, as guests leave it.
fn fragmented(path: &Path, random: &mut StdRng) -> File {
    let disk = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    disk.set_len(SIZE).unwrap();
    scatter(&disk, random, 300);
    disk
}

fn scatter(disk: &File, random: &mut StdRng, writes: u32) {
    let mut bytes = vec![0; 16_384];
    for _ in 0..writes {
        random.fill_bytes(&mut bytes);
        let offset = random.random_range(0..SIZE - 16_384) / 4096 * 4096;
        disk.write_all_at(&bytes, offset).unwrap();
        disk.sync_data().unwrap();
    }
}

/// Two snapshots of a fragmented disk with writes, holes and zeros between them.
fn two(house: &House, ground: &Ground, random: &mut StdRng) -> (Snapshot, Snapshot) {
    let path = disk_in(ground, "disk.img");
    let disk = fragmented(&path, random);
    let older = house.take(&path);
    scatter(&disk, random, 60);
    for at in 0..10 {
        let command = format!("fpunch {} 40000", at * 2_000_000);
        must("xfs_io", &["-c", &command, text(&path)]);
    }
    (older, house.take(&path))
}

#[test]
fn xfs_fsr_moves_a_base_that_is_not_sealed() {
    let seed = Seed::choose();
    let ground = Kind::Xfs.make(1 << 30);
    let settings = config::Snapshots {
        immutable: false,
        ..config::Snapshots::default()
    };
    let house = House::with(&[&ground], settings);
    let (older, newer) = two(&house, &ground, &mut seed.random());
    for moved in [&older, &newer] {
        let file = file_of(moved);
        let before = places(&file);
        let said = shell("xfs_fsr", &["-v", text(&file)]).0;
        let after = places(&file);
        assert_ne!(before, after, "nothing was moved: {said}");
        for refine in EVERY {
            let comparison = house.compare(&older, &newer, refine).unwrap();
            replica::exact(&comparison, &file_of(&older)).report(&format!("{refine:?}"));
        }
    }
}

#[test]
fn xfs_fsr_cannot_move_a_sealed_base() {
    let seed = Seed::choose();
    let ground = Kind::Xfs.make(1 << 30);
    let house = House::over(&[&ground]);
    let (older, newer) = two(&house, &ground, &mut seed.random());
    let before = places(&file_of(&older));
    shell("xfs_fsr", &["-v", text(&file_of(&older))]);
    assert_eq!(places(&file_of(&older)), before);
    let comparison = house.compare(&older, &newer, Refine::None).unwrap();
    replica::exact(&comparison, &file_of(&older));
}

#[test]
fn a_btrfs_balance_moves_both() {
    let seed = Seed::choose();
    for kind in [Kind::Btrfs, Kind::BtrfsNocow, Kind::BtrfsCompressed] {
        let ground = kind.make(2 << 30);
        let house = House::over(&[&ground]);
        let (older, newer) = two(&house, &ground, &mut seed.random());
        let named = |refine| {
            let comparison = house.compare(&older, &newer, refine).unwrap();
            replica::exact(&comparison, &file_of(&older)).named
        };
        let before = (places(&file_of(&older)), EVERY.map(named));
        must(
            "btrfs",
            &[
                "balance",
                "start",
                "--full-balance",
                text(&ground.repository()),
            ],
        );
        let after = (places(&file_of(&older)), EVERY.map(named));
        assert_ne!(before.0, after.0, "nothing was moved");
        // A balance keeps shared what is shared.
        assert_eq!(before.1, after.1);
        eprintln!("{kind:?}: {:?} bytes named, moved or not", after.1);
    }
}

#[test]
fn a_balance_runs_while_snapshots_are_compared() {
    let seed = Seed::choose();
    let mut random = seed.random();
    let ground = Kind::Btrfs.make(2 << 30);
    let house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    let disk = fragmented(&path, &mut random);
    // Thousands of extents: reading their map takes a while, and so does moving them.
    strew(&disk, &mut random, 3000);
    let older = house.take(&path);
    strew(&disk, &mut random, 300);
    let newer = house.take(&path);
    let (file, point) = (file_of(&older), ground.repository());
    let (before, now) = (fs::read(&file).unwrap(), fs::read(file_of(&newer)).unwrap());
    let compare = |refine| {
        house
            .compare(&older, &newer, refine)
            .map(|comparison| replica::apply_known(&comparison.disks[0], &before, &now))
    };
    let quiet = EVERY.map(|refine| compare(refine).unwrap().named);
    let done = AtomicBool::new(false);
    let (mut tally, mut spurious) = (Tally::default(), 0);
    thread::scope(|scope| {
        let balancing = scope.spawn(|| {
            let mut moves = 0;
            while !done.load(Ordering::SeqCst) {
                let before = places(&file);
                must(
                    "btrfs",
                    &["balance", "start", "--full-balance", text(&point)],
                );
                moves += u32::from(places(&file) != before);
            }
            moves
        });
        let mut failure = None;
        for number in 0..count(60, 1000) {
            // Reading bytes while a balance reads and writes is slow: not often.
            let at = if number % 20 == 0 {
                2
            } else {
                usize::from(number % 2 == 0)
            };
            match compare(EVERY[at]) {
                Ok(one) if one.missed == 0 => {
                    spurious += u32::from(one.named > quiet[at]);
                    tally.add(one);
                }
                other => {
                    failure = Some(format!("{:?}: {other:?}", EVERY[at]));
                    break;
                }
            }
        }
        done.store(true, Ordering::SeqCst);
        let moves = balancing.join().unwrap();
        tally.report(&format!(
            "during {moves} balances that moved the base, {spurious} times too much named"
        ));
        assert_eq!(failure, None);
        assert!(moves > 0, "nothing was moved meanwhile");
    });
}

/// Single blocks, not next to each other.
fn strew(disk: &File, random: &mut StdRng, writes: u32) {
    let mut bytes = vec![0; 4096];
    for _ in 0..writes {
        random.fill_bytes(&mut bytes);
        let block = random.random_range(0..SIZE / 8192) * 2;
        disk.write_all_at(&bytes, block * 4096).unwrap();
    }
}
