//! Small writes to a large disk: OCFS2 copies a megabyte for each, and the comparison names what
//! was written all the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use coriolis_ovm_exporter::extents::Range;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::Refine;

use super::house::House;
use super::{noise, on_each, replica};
use crate::brief::Brief;

const BLOCK: u64 = 4096;
const STEP: u64 = 1 << 20;

pub fn run(brief: &Brief) {
    on_each(brief, |house, _| {
        let size = u64::from(brief.count(128, 1024)) * STEP;
        small_writes(
            house,
            &mut Random::new(brief.seed),
            size,
            brief.count(100, 1000),
        );
    });
}

fn small_writes(house: &House, random: &mut Random, size: u64, writes: u32) {
    let path = house.disk("disk.img");
    let disk = File::create_new(&path).unwrap();
    let bytes = noise(random, STEP);
    for at in 0..size / STEP {
        disk.write_all_at(&bytes, at * STEP).unwrap();
    }
    let older = house.take(&path);
    let mut touched = BTreeSet::new();
    for _ in 0..writes {
        let block = random.below(size / BLOCK);
        disk.write_all_at(&noise(random, BLOCK), block * BLOCK)
            .unwrap();
        touched.insert(block);
    }
    let newer = house.take(&path);
    let written = touched.len() as u64 * BLOCK;
    println!(
        "  {writes} writes of 4 KiB to {} MiB: {written} bytes",
        size / STEP
    );
    for refine in [Refine::None, Refine::Auto] {
        let begun = Instant::now();
        let comparison = house.compare(&older, &newer, refine).unwrap();
        let ranges = &comparison.disks[0].ranges;
        let named = replica::named(ranges);
        println!(
            "  {refine:?}: {named} bytes named, {:.1} times what was written; {:.2} s",
            f64::from(u32::try_from(named * 10 / written).unwrap()) / 10.0,
            begun.elapsed().as_secs_f64()
        );
        for block in &touched {
            assert!(covers(ranges, block * BLOCK), "block {block} is not named");
        }
        if refine == Refine::Auto {
            assert!(named * 10 <= written * 11, "{named} for {written}");
        }
    }
    house.delete_all().unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// Whether the block at `offset` lies in one range.
fn covers(ranges: &[Range], offset: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= offset);
    ranges[..after]
        .last()
        .is_some_and(|range| range.end() >= offset + BLOCK)
}
