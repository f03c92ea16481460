//! Real disks with random bytes changed where they are looked at.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::guest::{self, MOST, Source};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::support::counts::count;
use super::images::{Image, MIB, Reader, bios, uefi};

/// Notes what is read, and changes some of it.
struct Changed<'i> {
    reader: Reader,
    read: &'i mut Vec<(u64, usize)>,
    changes: &'i BTreeMap<u64, u8>,
}

impl Source for Changed<'_> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.read_at(offset, buffer)?;
        self.read.push((offset, buffer.len()));
        for (at, byte) in self.changes.range(offset..offset + buffer.len() as u64) {
            buffer[usize::try_from(at - offset).unwrap()] = *byte;
        }
        Ok(())
    }
}

/// Values that are more trouble than others.
const ODD: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x55];

#[test]
fn changed_disks_neither_crash_nor_take_long() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let images = [
        uefi(),
        bios(),
        Image::made_by(32 * MIB, "mkfs.ntfs", &["-q", "-Q", "-F", "-L", "Daten"]),
        Image::made_by(128 * MIB, "mkfs.btrfs", &["-q"]),
    ];
    let mut different = 0;
    for (round, image) in (0..count(400, 40_000)).zip(images.iter().cycle()) {
        let (mut read, none) = (Vec::new(), BTreeMap::new());
        let good = guest::look(
            &mut Changed {
                reader: image.reader(),
                read: &mut read,
                changes: &none,
            },
            image.size,
        );
        let mut changes = BTreeMap::new();
        for _ in 0..random.random_range(1..=12) {
            let (at, length) = read[random.random_range(0..read.len())];
            let at = at + random.random_range(0..length as u64);
            for byte in 0..random.random_range(1..=8) {
                let value = match random.random_range(0..3) {
                    0 => random.random(),
                    _ => ODD[random.random_range(0..ODD.len())],
                };
                changes.insert(at + byte, value);
            }
        }
        let begun = Instant::now();
        let found = guest::look(
            &mut Changed {
                reader: image.reader(),
                read: &mut read,
                changes: &changes,
            },
            image.size,
        );
        let took = begun.elapsed();
        let what = || format!("seed {seed}, round {round}: {changes:?}");
        assert!(took < Duration::from_secs(5), "{took:?}: {}", what());
        assert!(found.bytes_read <= MOST, "{}", what());
        assert!(
            found.notes.len() <= 32 && found.partitions.len() <= 320,
            "{}",
            what()
        );
        for partition in &found.partitions {
            let end = partition.start.checked_add(partition.length);
            assert!(
                end.is_some_and(|end| end <= image.size),
                "{partition:?}: {}",
                what()
            );
        }
        different += usize::from(found != good);
    }
    println!("{different} were told apart");
    assert!(different > 10, "the changes are nowhere that matters");
}
