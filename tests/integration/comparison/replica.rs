//! A replica that only knows the older snapshot and what a comparison names.

use std::fs;
use std::path::Path;

use coriolis_ovm_exporter::extents::{Range, RangeKind};
use coriolis_ovm_exporter::snapshots::{Comparison, DiskComparison, Method, Snapshot};
use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;

const BLOCK: usize = 4096;
const STEP: usize = 1 << 20;
const STALE: u8 = 0xEE;

/// What pairs of snapshots came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub pairs: u64,
    /// Bytes that differ, or that the older snapshot's disk did not reach.
    pub changed: u64,
    /// Bytes of the blocks of 4 KiB in which any byte differs.
    pub changed_blocks: u64,
    /// Bytes that comparisons named.
    pub named: u64,
    /// Bytes that were wrong on the replica.
    pub missed: u64,
    /// Comparisons made by bytes because the maps did not hold still.
    pub by_content: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.pairs += other.pairs;
        self.changed += other.changed;
        self.changed_blocks += other.changed_blocks;
        self.named += other.named;
        self.missed += other.missed;
        self.by_content += other.by_content;
    }

    /// One line for people.
    pub fn report(&self, what: &str) {
        eprintln!(
            "{what}: {} pairs, {} bytes changed in blocks of {} bytes, {} bytes named, {} bytes missed, {} by content",
            self.pairs, self.changed, self.changed_blocks, self.named, self.missed, self.by_content
        );
    }
}

/// Brings a replica of `base` up to date and holds it against the newer snapshot's bytes.
pub fn apply(comparison: &Comparison, disk: &DiskComparison, base: &[u8], now: &[u8]) -> Tally {
    apply_from(disk, base, now, |replica| {
        fetch(&comparison.snapshot, disk, replica);
    })
}

/// The same without reading the snapshot once more: `now` has its bytes.
pub fn apply_known(disk: &DiskComparison, base: &[u8], now: &[u8]) -> Tally {
    apply_from(disk, base, now, |replica| {
        for range in &disk.ranges {
            let (start, end) = (range.start, range.end());
            let inside = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            match range.kind {
                RangeKind::Zero => replica[inside].fill(0),
                RangeKind::Data => replica[inside.clone()].copy_from_slice(&now[inside]),
            }
        }
    })
}

fn apply_from(
    disk: &DiskComparison,
    base: &[u8],
    now: &[u8],
    fetch: impl FnOnce(&mut [u8]),
) -> Tally {
    assert_eq!(disk.disk.size, now.len() as u64, "the size that is told");
    check_order(&disk.ranges, disk.disk.size);
    let mut replica = base.to_vec();
    // What a volume holds behind the disk's former end is anybody's guess.
    replica.resize(now.len(), STALE);
    let mut changed = 0;
    let mut changed_blocks = 0;
    let mut end = 0;
    for (was, is) in replica.chunks(BLOCK).zip(now.chunks(BLOCK)) {
        end += is.len();
        // A guest may write by chance just what the volume holds behind the former end.
        if was != is || end > base.len() {
            changed_blocks += is.len() as u64;
            changed += differing(was, is);
        }
    }
    fetch(&mut replica);
    let missed = if replica == now {
        0
    } else {
        differing(&replica, now)
    };
    Tally {
        pairs: 1,
        changed,
        changed_blocks,
        named: named(&disk.ranges),
        missed,
        by_content: u64::from(disk.method == Method::Content),
    }
}

/// The same for the only disk of a comparison whose snapshots' files can be read whole; nothing
/// may be missed.
pub fn exact(comparison: &Comparison, base: &Path) -> Tally {
    let disk = &comparison.disks[0];
    let (before, now) = (fs::read(base).unwrap(), fs::read(&disk.path).unwrap());
    let tally = apply(comparison, disk, &before, &now);
    assert_eq!(tally.missed, 0, "bytes missed: {:?}", disk.ranges);
    tally
}

/// Bytes that ranges name.
pub fn named(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}

/// Sorted, inside the disk, not overlapping.
fn check_order(ranges: &[Range], size: u64) {
    let mut reached = 0;
    for range in ranges {
        assert!(range.length > 0, "an empty range: {range:?}");
        assert!(range.start >= reached, "out of order: {range:?}");
        reached = range.end();
        assert!(reached <= size, "past the end at {size}: {range:?}");
    }
}

/// Reads the data ranges as the daemon does, past the page cache, and writes zeros as zeros.
pub fn fetch(snapshot: &Snapshot, disk: &DiskComparison, replica: &mut [u8]) {
    let file = snapshot.open(&disk.disk).unwrap();
    let mut buffer = AlignedBuffer::new(STEP + 2 * BLOCK);
    for range in &disk.ranges {
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

fn differing(one: &[u8], other: &[u8]) -> u64 {
    one.iter()
        .zip(other)
        .map(|(one, other)| u64::from(one != other))
        .sum()
}
