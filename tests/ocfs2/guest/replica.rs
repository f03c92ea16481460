//! A replica that is brought up to date by a comparison.

use coriolis_ovm_exporter::extents::{Range, RangeKind};
use coriolis_ovm_exporter::snapshots::{Comparison, Snapshot};
use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;

const BLOCK: usize = 4096;
const STEP: usize = 1 << 20;

/// What a comparison of two snapshots came to, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// In ranges.
    pub named: u64,
    /// In blocks of 4 KiB that differ, what lies behind the base's end included.
    pub changed: u64,
    /// That a replica would have wrong. Never anything but 0.
    pub missed: u64,
}

/// Makes a replica of `base` one of `now` by what the comparison names, and looks at the outcome.
pub fn apply(comparison: &Comparison, base: &[u8], now: &[u8]) -> Tally {
    let disk = &comparison.disks[0];
    assert_eq!(disk.disk.size, now.len() as u64);
    check_order(&disk.ranges, disk.disk.size);
    let mut replica = base.to_vec();
    // What a volume holds behind the disk's former end is anybody's guess.
    replica.resize(base.len().max(now.len()), 0xEE);
    replica.truncate(now.len());
    fetch(&comparison.snapshot, &disk.ranges, &mut replica);
    let changed = now
        .chunks(BLOCK)
        .enumerate()
        .filter(|(at, block)| base.get(at * BLOCK..at * BLOCK + block.len()) != Some(*block))
        .map(|(_, block)| block.len() as u64)
        .sum();
    Tally {
        named: named(&disk.ranges),
        changed,
        missed: differing(&replica, now),
    }
}

/// Reads the data ranges as the daemon does, past the page cache, and writes zeros as zeros.
pub fn fetch(snapshot: &Snapshot, ranges: &[Range], replica: &mut [u8]) {
    let file = snapshot.open(&snapshot.manifest.disks[0]).unwrap();
    let mut buffer = AlignedBuffer::new(STEP + 2 * BLOCK);
    for range in ranges {
        let end = usize::try_from(range.end()).unwrap();
        let mut position = usize::try_from(range.start).unwrap();
        if range.kind == RangeKind::Zero {
            replica[position..end].fill(0);
            continue;
        }
        while position < end {
            let length = STEP.min(end - position);
            let at = file.read_at(&mut buffer, position as u64, length).unwrap();
            replica[position..position + length].copy_from_slice(&buffer[at..at + length]);
            position += length;
        }
    }
}

/// Bytes in ranges.
pub fn named(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}

/// Sorted, inside the disk, not overlapping, none empty.
fn check_order(ranges: &[Range], size: u64) {
    let mut reached = 0;
    for range in ranges {
        assert!(range.length > 0, "an empty range: {range:?}");
        assert!(range.start >= reached, "out of order: {range:?}");
        reached = range.end();
        assert!(reached <= size, "past the end at {size}: {range:?}");
    }
}

fn differing(one: &[u8], other: &[u8]) -> u64 {
    one.iter()
        .zip(other)
        .map(|(one, other)| u64::from(one != other))
        .sum()
}
