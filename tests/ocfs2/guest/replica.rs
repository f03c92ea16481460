//! A replica that is brought up to date by a comparison.

use std::io;

use coriolis_ovm_exporter::extents::{Range, RangeKind};
use coriolis_ovm_exporter::snapshots::manifest::Disk;
use coriolis_ovm_exporter::snapshots::{Comparison, Snapshot, SnapshotError};
use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;
use coriolis_ovm_exporter::sys::uncached::UncachedFile;

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
    apply_disk(comparison, 0, base, now)
}

/// The same with the machine's disk number `at`.
pub fn apply_disk(comparison: &Comparison, at: usize, base: &[u8], now: &[u8]) -> Tally {
    let disk = &comparison.disks[at];
    assert_eq!(disk.disk.size, now.len() as u64);
    check_order(&disk.ranges, disk.disk.size);
    let mut replica = base.to_vec();
    // What a volume holds behind the disk's former end is anybody's guess.
    replica.resize(base.len().max(now.len()), 0xEE);
    replica.truncate(now.len());
    fetch_disk(&comparison.snapshot, &disk.disk, &disk.ranges, &mut replica);
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

/// A snapshot's only disk, see [`fetch_disk`].
pub fn fetch(snapshot: &Snapshot, ranges: &[Range], replica: &mut [u8]) {
    fetch_disk(snapshot, &snapshot.manifest.disks[0], ranges, replica);
}

/// Reads a whole disk.
pub fn read(snapshot: &Snapshot, disk: &Disk) -> Vec<u8> {
    try_read(snapshot, disk).unwrap()
}

/// The same, where the storage may be sick: an error of the snapshot's, or of the read itself.
pub fn try_read(
    snapshot: &Snapshot,
    disk: &Disk,
) -> Result<Vec<u8>, Result<SnapshotError, io::Error>> {
    let file = snapshot.open(disk).map_err(Ok)?;
    let mut bytes = vec![0; usize::try_from(disk.size).unwrap()];
    let all = Range {
        start: 0,
        length: disk.size,
        kind: RangeKind::Data,
        physical_start: 0,
    };
    fetch_from(&file, &[all], &mut bytes).map_err(Err)?;
    Ok(bytes)
}

/// Reads the data ranges as the daemon does, past the page cache, and writes zeros as zeros.
fn fetch_disk(snapshot: &Snapshot, disk: &Disk, ranges: &[Range], replica: &mut [u8]) {
    let file = snapshot.open(disk).unwrap();
    fetch_from(&file, ranges, replica).unwrap();
}

fn fetch_from(file: &UncachedFile, ranges: &[Range], replica: &mut [u8]) -> io::Result<()> {
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
            let at = file.read_at(&mut buffer, position as u64, length)?;
            replica[position..position + length].copy_from_slice(&buffer[at..at + length]);
            position += length;
        }
    }
    Ok(())
}

/// Bytes that a replica would have wrong if it took what is named from `now`.
pub fn missed(ranges: &[Range], base: &[u8], now: &[u8]) -> u64 {
    check_order(ranges, now.len() as u64);
    let mut replica = base.to_vec();
    replica.resize(base.len().max(now.len()), 0xEE);
    replica.truncate(now.len());
    for range in ranges {
        let at = usize::try_from(range.start).unwrap()..usize::try_from(range.end()).unwrap();
        match range.kind {
            RangeKind::Zero => replica[at].fill(0),
            _ => replica[at.clone()].copy_from_slice(&now[at]),
        }
    }
    differing(&replica, now)
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
