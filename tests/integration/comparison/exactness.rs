//! Writes alone: a comparison names the blocks that were written and next to nothing else.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use coriolis_ovm_exporter::extents::Range;
use coriolis_ovm_exporter::snapshots::Refine;
use rand::{Rng, RngExt};

use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::house::{House, disk_in};
use super::replica::named;
use super::seed::Seed;

const BLOCK: u64 = 4096;
const STEP: u64 = 1 << 20;

#[test]
fn writes_are_named_by_the_block_on_xfs() {
    run(Kind::Xfs);
}

#[test]
fn writes_are_named_by_the_block_on_btrfs() {
    run(Kind::Btrfs);
}

fn run(kind: Kind) {
    let seed = Seed::choose();
    let mut random = seed.random();
    let ground = kind.make(4 << 30);
    let house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    let size = u64::from(count(256, 1024)) * STEP;
    let writes = count(200, 1000);
    let disk = File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut bytes = vec![0; usize::try_from(STEP).unwrap()];
    random.fill_bytes(&mut bytes);
    for at in 0..size / STEP {
        disk.write_all_at(&bytes, at * STEP).unwrap();
    }
    let mut older = house.take(&path);
    // Several generations: what the last one left must not blur the next.
    for generation in 1..=4 {
        let mut touched = BTreeSet::new();
        for _ in 0..writes {
            // Half of them are blocks; half are of any length and place, and never of the bytes
            // that were there.
            let (offset, length) = if random.random() {
                (random.random_range(0..size / BLOCK) * BLOCK, BLOCK)
            } else {
                let length = random.random_range(64..=3 * BLOCK);
                (random.random_range(0..size - length), length)
            };
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            random.fill_bytes(&mut bytes);
            disk.write_all_at(&bytes, offset).unwrap();
            touched.extend(offset / BLOCK..(offset + length).div_ceil(BLOCK));
        }
        let newer = house.take(&path);
        let written = touched.len() as u64 * BLOCK;
        for refine in [Refine::None, Refine::Auto] {
            let comparison = house.compare(&older, &newer, refine).unwrap();
            let ranges = &comparison.disks[0].ranges;
            let named = named(ranges);
            eprintln!(
                "{kind:?}, generation {generation}, {refine:?}: {writes} writes touch {written} bytes of blocks, {named} named"
            );
            assert!(named * 100 <= written * 105, "{named} for {written}");
            for block in &touched {
                assert!(covers(ranges, block * BLOCK), "block {block} is not named");
            }
        }
        house.delete(&older).unwrap();
        older = newer;
    }
}

/// Whether the block at `offset` lies in one range.
fn covers(ranges: &[Range], offset: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= offset);
    ranges[..after]
        .last()
        .is_some_and(|range| range.end() >= offset + BLOCK)
}
