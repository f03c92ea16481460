//! Compressed extents: the address that a map gives for them is no proof of anything.
//!
//! btrfs reports for a piece of a compressed extent the extent's place on the device plus the
//! piece's offset in the *unpacked* data. The packed extent is shorter than that, so the sum lies
//! in the extents behind it and names them, too.

use std::fs::File;
use std::os::unix::fs::FileExt;

use coriolis_ovm_exporter::snapshots::Refine;

use super::super::support::node::Kind;
use super::house::{House, disk_in, file_of, must, places, text};
use super::replica;

/// btrfs compresses pieces of this size; packed, one of equal bytes takes a block.
const PIECE: u64 = 128 << 10;
const BLOCK: u64 = 4096;
const PIECES: u64 = 24;

#[test]
fn two_extents_that_claim_one_address() {
    let ground = Kind::BtrfsCompressed.make(512 << 20);
    let house = House::over(&[&ground]);
    let path = disk_in(&ground, "disk.img");
    let disk = File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    for (at, byte) in (0..PIECES).zip(1_u8..) {
        disk.write_all_at(&[byte; 128 << 10], at * PIECE).unwrap();
        disk.sync_all().unwrap();
    }
    let base = house.take(&path);
    let before = places(&file_of(&base));
    // Packed, the pieces follow each other: block k of the first claims to lie where piece k does.
    for at in 1..PIECES {
        let command = format!(
            "reflink {} {} {} {BLOCK}",
            text(&path),
            at * PIECE,
            at * BLOCK
        );
        must("xfs_io", &["-c", &command, text(&path)]);
    }
    let newer = house.take(&path);
    let after = places(&file_of(&newer));
    let traps = (1..PIECES)
        .filter(|at| claimed(&before, at * BLOCK) == claimed(&after, at * BLOCK))
        .count();
    assert!(
        traps > 0,
        "no address is claimed twice: {before:?}, {after:?}"
    );
    for refine in [Refine::None, Refine::Auto, Refine::Blocks] {
        let comparison = house.compare(&base, &newer, refine).unwrap();
        let tally = replica::exact(&comparison, &file_of(&base));
        tally.report(&format!("{traps} addresses claimed twice, {refine:?}"));
        assert_eq!(tally.changed, (PIECES - 1) * BLOCK);
        if refine != Refine::None {
            assert_eq!(tally.named, tally.changed_blocks);
        }
    }
}

/// The address that a map gives for a byte.
fn claimed(places: &[(u64, u64, u64)], offset: u64) -> Option<u64> {
    places
        .iter()
        .find(|(logical, _, length)| (*logical..logical + length).contains(&offset))
        .map(|(logical, physical, _)| physical + (offset - logical))
}
