//! Pages and deltas while a balance moves what they are made from.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::protocol::delta::Compression;
use coriolis_ovm_exporter::snapshots::{
    BufferPool, Delta, Format, Question, Refine, Snapshot, Walk,
};
use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;
use rand::{Rng as _, RngExt as _};

use super::super::comparison::house::{House, disk_in, file_of, must, places, shell, text};
use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::super::support::wait;
use super::scene::{assert_same, decode};

const SIZE: u64 = 32 << 20;

/// A walk over what changed since `base`, from an offset on.
fn walk(house: &House, base: &Snapshot, now: &Snapshot, refine: Refine, from: u64) -> Walk {
    let question = Question {
        base: Some(base.id().to_string()),
        refine,
        from,
        ..Question::default()
    };
    let snapshot = house.find(now).unwrap();
    house
        .snapshots
        .walk(snapshot, "disk.img", &question)
        .unwrap()
}

/// The delta of a walk, made by the library.
fn delta(walk: Walk) -> Vec<u8> {
    let mut delta = Delta::new(
        walk,
        Format::Native(Compression::None),
        BufferPool::default().join(),
    )
    .unwrap();
    let mut stream = Vec::new();
    while let Some(pieces) = delta.step().unwrap() {
        for piece in pieces {
            stream.extend_from_slice(&piece);
        }
    }
    stream
}

#[test]
fn a_balance_runs_while_deltas_are_made() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let ground = Kind::Btrfs.make(2 << 30);
    let house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    let disk = File::create_new(&path).unwrap();
    disk.set_len(SIZE).unwrap();
    let mut block = vec![0; 4096];
    let mut strew = |writes: u32| {
        for _ in 0..writes {
            random.fill_bytes(&mut block);
            let place = random.random_range(0..SIZE / 8192) * 2;
            disk.write_all_at(&block, place * 4096).unwrap();
        }
    };
    strew(3000);
    let older = house.take(&path);
    strew(300);
    let newer = house.take(&path);
    let (file, point) = (file_of(&older), ground.repository());
    let (before, now) = (fs::read(&file).unwrap(), fs::read(file_of(&newer)).unwrap());
    let done = AtomicBool::new(false);
    let (mut by_content, mut sent) = (0, 0);
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
        let failure = (0..count(6, 600)).find_map(|number| {
            let refine =
                [Refine::None, Refine::Auto, Refine::None, Refine::Blocks][number as usize % 4];
            let from = if number % 3 == 0 {
                0
            } else {
                u64::from(number) * 12_345
            };
            let delta =
                decode(&delta(walk(&house, &older, &newer, refine, from)), 1 << 20).unwrap();
            by_content += u32::from(delta.totals.by_content > 0);
            sent += delta.totals.data;
            let mut replica = before.clone();
            let done = usize::try_from(from).unwrap();
            replica[..done].copy_from_slice(&now[..done]);
            (delta.apply(&replica) != now).then_some((refine, from))
        });
        done.store(true, Ordering::SeqCst);
        let moves = balancing.join().unwrap();
        println!(
            "{moves} balances that moved the base, {by_content} by content, {sent} bytes sent"
        );
        assert_eq!(failure, None, "bytes missed");
        assert!(moves > 0, "nothing was moved meanwhile");
    });
}

#[test]
fn maps_that_never_hold_still_are_not_believed() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let ground = Kind::Btrfs.make(1 << 30);
    // What is sealed cannot be written to.
    let settings = config::Snapshots {
        immutable: false,
        ..config::Snapshots::default()
    };
    let house = House::with(&[&ground], settings);
    let path = disk_in(&ground, "disk.img");
    let mut bytes = vec![0; 16 << 20];
    random.fill_bytes(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    // Many extents: reading their map takes a while.
    let disk = File::options().write(true).open(&path).unwrap();
    disk.sync_all().unwrap();
    for (number, block) in (0..).zip(bytes.chunks(4096)).step_by(2) {
        disk.write_all_at(block, number * 4096).unwrap();
    }
    let base = house.take(&path);
    bytes[1_000_000] ^= 1;
    disk.write_all_at(&bytes[999_424..1_003_520], 999_424)
        .unwrap();
    let newer = house.take(&path);
    assert!(places(&file_of(&base)).len() > 4000);
    let before = fs::read(file_of(&base)).unwrap();
    // Opened while it is what was sealed.
    let walks: Vec<Walk> = (0..50)
        .map(|_| walk(&house, &base, &newer, Refine::None, 0))
        .collect();
    // The same bytes again: each write takes another place, and so maps differ from the last.
    // Past the page cache it takes it at once.
    let moving = File::options()
        .write(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(file_of(&base))
        .unwrap();
    let mut block = AlignedBuffer::new(4096);
    block.copy_from_slice(&before[..4096]);
    let (rounds, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                moving.write_all_at(&block, 0).unwrap();
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        wait::until("it moves", || rounds.load(Ordering::SeqCst) > 3);
        // A reading may fall between two writes, and be right.
        let seen = walks.into_iter().enumerate().find_map(|(number, walk)| {
            let delta = decode(&delta(walk), 1 << 20).unwrap();
            let right = delta.apply(&before) == bytes;
            (!right || delta.totals.by_content > 0).then_some((number, right, delta))
        });
        done.store(true, Ordering::SeqCst);
        seen
    });
    let (number, right, delta) = seen.expect("the maps held still, fifty times");
    assert!(right, "bytes missed");
    println!("the first by content was number {number}");
    assert_eq!(delta.header.method, "content");
    let reason = delta.header.reason.as_deref().unwrap();
    assert!(reason.contains("moved during each"), "{reason}");
    assert_eq!(delta.totals.by_content, 16 << 20);
    assert_eq!(delta.totals.data, 4096, "the block that differs");
}

/// A folder that shows another one, until it is dropped.
struct Bound(PathBuf);

impl Bound {
    fn over(there: &Path, shows: &Path) -> Bound {
        must("mount", &["--bind", text(shows), text(there)]);
        Bound(there.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        shell("umount", &[text(&self.0)]);
    }
}

#[test]
fn two_file_systems_are_compared_by_content() {
    let seed = Seed::choose();
    let mut random = seed.random();
    let (one, other) = (Kind::Xfs.make(512 << 20), Kind::Btrfs.make(512 << 20));
    let house = House::over(&[&one, &other]);
    let path = disk_in(&one, "disk.img");
    let mut bytes = vec![0; 9 << 20];
    random.fill_bytes(&mut bytes[..6 << 20]);
    fs::write(&path, &bytes).unwrap();
    let base = house.take(&path);
    // The disk moves to another repository and keeps its path.
    let folder = other.repository().join("VirtualDisks");
    let mut moved = bytes.clone();
    moved[12_288..16_384].fill(0);
    moved[5_000_000] ^= 1;
    moved.extend_from_slice(&[0; 100_000]);
    fs::write(folder.join("disk.img"), &moved).unwrap();
    let bound = Bound::over(path.parent().unwrap(), &folder);
    let newer = house.try_create(&house.subject(&[(1, &path)])).unwrap();
    for from in [0, 4_999_999, 9 << 20] {
        let stream = delta(walk(&house, &base, &newer, Refine::None, from));
        let delta = decode(&stream, 1 << 20).unwrap();
        assert_eq!(delta.header.method, "content");
        let reason = delta.header.reason.as_deref().unwrap();
        assert!(reason.contains("different file systems"), "{reason}");
        assert_eq!(delta.totals.by_content, moved.len() as u64 - from);
        let mut replica = bytes.clone();
        let before = usize::try_from(from).unwrap();
        replica[..before].copy_from_slice(&moved[..before]);
        assert_same(&delta.apply(&replica), &moved, "by content");
        // The byte that was flipped, unless the stream begins after it.
        assert_eq!(delta.totals.data > 0, from <= 5_000_000);
        assert!(delta.totals.data <= 4096, "{:?}", delta.totals);
    }
    drop(bound);
}
