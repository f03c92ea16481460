//! Whatever is written and zeroed, every target holds the same bytes afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use coriolis_ovm_exporter::client::target::{BlockDevice, Memory, RawFile, Target, TargetOptions};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::ground::{Loop, Mount};

/// No multiple of anything.
const DISK: u32 = 3_000_001;

/// A target, and the file in which its bytes really lie.
struct Held {
    target: Box<dyn Target>,
    file: PathBuf,
}

/// One of each kind, with something else in it before.
fn all(folder: &Path, devices: &[Loop], xfs: &Mount) -> Vec<Held> {
    let mut all: Vec<Held> = devices
        .iter()
        .enumerate()
        .map(|(at, device)| Held {
            target: Box::new(
                BlockDevice::open(
                    &device.device,
                    &TargetOptions {
                        discard: at % 2 == 1,
                        ..TargetOptions::default()
                    },
                )
                .unwrap(),
            ),
            file: image(folder, at),
        })
        .collect();
    for file in [folder.join("file"), xfs.point.join("file")] {
        fs::write(&file, vec![0xEE; 4 << 20]).unwrap();
        all.push(Held {
            target: Box::new(RawFile::open(&file).unwrap()),
            file,
        });
    }
    all
}

fn image(folder: &Path, at: usize) -> PathBuf {
    folder.join(format!("image-{at}"))
}

/// Devices with sectors of 512 and of 4096 bytes, each twice.
fn devices(folder: &Path) -> Vec<Loop> {
    ["512", "512", "4096", "4096"]
        .iter()
        .enumerate()
        .map(|(at, sector)| {
            fs::write(image(folder, at), vec![0xEE; 4 << 20]).unwrap();
            Loop::of(&image(folder, at), &["--sector-size", sector])
        })
        .collect()
}

/// A stretch inside of `from..until`: short, long, aligned or not.
fn stretch(random: &mut StdRng, from: u64, until: u64) -> (u64, u64) {
    let most = [1, 600, 5000, 300_000][random.random_range(0..4)];
    let mut offset = random.random_range(from..until);
    let mut length = random.random_range(0..=most).min(until - offset);
    let unit = [1, 1, 512, 4096][random.random_range(0..4)];
    if offset - offset % unit >= from {
        offset -= offset % unit;
        length = length.next_multiple_of(unit).min(until - offset);
    }
    (offset, length)
}

fn deed(random: &mut StdRng, targets: &[&dyn Target], from: u64, until: u64) {
    let (offset, length) = stretch(random, from, until);
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    random.fill_bytes(&mut bytes);
    let is_zero = random.random_bool(0.4);
    let is_flush = random.random_bool(0.05);
    for target in targets {
        if is_zero {
            target.zero(offset, length).unwrap();
        } else {
            target.write_at(offset, &bytes).unwrap();
        }
        if is_flush {
            target.flush().unwrap();
        }
    }
}

fn assert_same(held: &Held, expected: &[u8], seed: &Seed) {
    held.target.flush().unwrap();
    let name = held.target.name();
    let mut read = vec![1; expected.len()];
    held.target.read_at(0, &mut read).unwrap();
    let file = fs::read(&held.file).unwrap();
    for (what, bytes) in [("reads", &read), ("holds", &file)] {
        if bytes[..expected.len()] != *expected {
            let wrong = (0..expected.len()).find(|at| bytes[*at] != expected[*at]);
            panic!("{name} {what} otherwise at {wrong:?}; seed {}", seed.0);
        }
    }
    let behind = &file[expected.len()..];
    assert!(behind.iter().all(|byte| *byte == 0xEE), "{name}: behind it");
}

/// What all of them begin with.
fn begin(held: &[Held], memory: &Memory) {
    let all = held.iter().map(|held| &*held.target);
    for target in all.chain([memory as &dyn Target]) {
        target.prepare(DISK.into()).unwrap();
        target.zero(0, DISK.into()).unwrap();
    }
}

#[test]
fn one_after_the_other() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let folder = tempfile::tempdir().unwrap();
    let loops = devices(folder.path());
    let xfs = Mount::image(&folder, &["mkfs.xfs", "-q"], 320 << 20);
    let held = all(folder.path(), &loops, &xfs);
    let memory = Memory::default();
    begin(&held, &memory);
    let mut targets: Vec<&dyn Target> = held.iter().map(|held| &*held.target).collect();
    targets.push(&memory);
    for _ in 0..count(5, 100) {
        for _ in 0..40 {
            deed(&mut random, &targets, 0, DISK.into());
        }
        for held in &held {
            assert_same(held, &memory.bytes(), &seed);
        }
    }
}

/// Threads whose ranges share sectors and pages at their ends.
#[test]
fn several_at_a_time() {
    const THREADS: u64 = 4;
    const STRIPE: u64 = 21_013;
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let folder = tempfile::tempdir().unwrap();
    let loops = devices(folder.path());
    let xfs = Mount::image(&folder, &["mkfs.xfs", "-q"], 320 << 20);
    let held = all(folder.path(), &loops, &xfs);
    let memory = Memory::default();
    begin(&held, &memory);
    let size = u64::from(DISK);
    for held in &held {
        // The same for each target, against a memory that is as it was.
        let model = Memory::from(memory.bytes());
        for round in 0..u64::from(count(2, 40)) {
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (held, model) = (&held, &model);
                    let mut random = Seed(seed.0 ^ (round * THREADS + thread)).random();
                    scope.spawn(move || {
                        for _ in 0..60 {
                            let stripes = size / (STRIPE * THREADS);
                            let stripe = random.random_range(0..stripes) * THREADS + thread;
                            let from = stripe * STRIPE;
                            deed(&mut random, &[&*held.target, model], from, from + STRIPE);
                        }
                    });
                }
            });
            assert_same(held, &model.bytes(), &seed);
        }
    }
}
