//! Random work of a guest between snapshots: every comparison is applied to a replica, which has
//! to become the newer snapshot, byte by byte.

use std::fs;

use coriolis_ovm_exporter::extents::Extent;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::clusters;
use coriolis_ovm_exporter::snapshots::{Ability, Refine, Snapshot};
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use coriolis_ovm_exporter::sys::reflink::CloneCall;
use nix::mount::MsFlags;

use super::disk::{self, Disk};
use super::house::{House, file_of};
use super::replica::{self, Tally};
use super::{on_each, without_ficlone};
use crate::brief::Brief;

/// How many snapshots are kept; older and newer ones go at random.
const ALIVE: usize = 6;
const REFINES: [Refine; 3] = [Refine::None, Refine::Auto, Refine::Blocks];

/// A snapshot, and the bytes of the live disk when it was taken.
struct Taken {
    snapshot: Snapshot,
    bytes: Vec<u8>,
}

pub fn run(brief: &Brief) {
    on_each(brief, |house, disk| {
        let mut random = Random::new(brief.seed ^ disk.cluster);
        let wanted = u64::from(brief.count(50, 1000)) / 2;
        let first = Random::new(random.number());
        several_pairs(house, first, wanted, CloneCall::Ficlone);
        fs::remove_file(house.disk("disk.img")).unwrap();
        // Another index, so that the clone is tried anew.
        house.move_out_and_in(MsFlags::empty());
        without_ficlone::run(|| several_pairs(house, random, wanted, CloneCall::Ocfs2Reflink));
    });
}

fn several_pairs(house: &House, random: Random, wanted: u64, call: CloneCall) {
    assert_eq!(
        house.snapshots.ability(&house.repository()),
        Ability::Yes(call)
    );
    let mut disk = Disk::new(house.disk("disk.img"), random);
    let mut alive: Vec<Taken> = Vec::new();
    let mut sums = [(0_u64, Tally::default()); 3];
    let mut pairs = 0;
    let mut changed = 0;
    let mut refused = 0;
    while pairs < wanted {
        disk.work();
        let (taken, was_refused) = take(house, &disk);
        assert!(!was_refused || call == CloneCall::Ocfs2Reflink);
        refused += u32::from(was_refused);
        let mut bases: Vec<usize> = alive.len().checked_sub(1).into_iter().collect();
        if alive.len() > 1 {
            bases.push(disk.pick(alive.len() - 1));
        }
        for base in bases {
            let at = disk.pick(REFINES.len());
            let tally = pair(house, &disk, &alive[base], &taken, REFINES[at]);
            let (count, sum) = &mut sums[at];
            *count += 1;
            sum.named += tally.named;
            sum.changed += tally.changed;
            sum.missed += tally.missed;
            pairs += 1;
            changed += tally.changed;
        }
        alive.push(taken);
        if alive.len() > ALIVE {
            let gone = alive.remove(disk.pick(ALIVE)).snapshot;
            house.delete(&gone).unwrap();
            assert!(!house.shelf().contains(&gone.id().to_string()));
        }
    }
    house.delete_all().unwrap();
    assert_eq!(house.shelf(), Vec::<String>::new());
    println!(
        "  {call:?}: {} operations, {pairs} pairs compared; {refused} times refused for space past the end",
        disk.deeds
    );
    for (refine, (count, sum)) in REFINES.iter().zip(sums) {
        println!(
            "  {refine:?}: {count} pairs, {} bytes changed, {} named, {} missed",
            sum.changed, sum.named, sum.missed
        );
    }
    assert!(changed > 0, "the guest changed nothing");
}

/// And whether it was refused at first.
fn take(house: &House, disk: &Disk) -> (Taken, bool) {
    let bytes = disk.bytes();
    let (snapshot, was_refused) = disk::snapshot(&[disk], || house.try_take(&disk.path));
    for path in [&disk.path, &file_of(&snapshot)] {
        // Whatever was done to it, and by whichever call it was cloned.
        let miscount = clusters::miscount(&fs::File::open(path).unwrap()).unwrap();
        assert_eq!(miscount, None, "{}: {:#?}", path.display(), disk.story);
    }
    assert!(
        fs::read(file_of(&snapshot)).unwrap() == bytes,
        "the clone differs from the disk: {:#?}",
        disk.story
    );
    let full = house.snapshots.allocated(snapshot.clone()).unwrap();
    let mut copy = vec![0; bytes.len()];
    replica::fetch(&snapshot, &full.disks[0].ranges, &mut copy);
    assert!(copy == bytes, "a full copy differs: {:#?}", disk.story);
    (Taken { snapshot, bytes }, was_refused)
}

fn pair(house: &House, disk: &Disk, base: &Taken, now: &Taken, refine: Refine) -> Tally {
    let comparison = house
        .compare(&base.snapshot, &now.snapshot, refine)
        .unwrap();
    let tally = replica::apply(&comparison, &base.bytes, &now.bytes);
    assert!(
        tally.missed == 0,
        "{refine:?}: {} bytes missed; since the last snapshot: {:#?}\nbase {:#?}\nnow {:#?}\nnamed {:#?}",
        tally.missed,
        disk.story,
        map(&base.snapshot),
        map(&now.snapshot),
        comparison.disks[0].ranges
    );
    if refine != Refine::None {
        // OCFS2 is refined as a rule.
        assert!(
            tally.named <= tally.changed,
            "{refine:?} names more than the blocks that differ: {tally:?}; {:#?}",
            disk.story
        );
    }
    tally
}

fn map(snapshot: &Snapshot) -> Vec<Extent> {
    let file = fs::File::open(file_of(snapshot)).unwrap();
    ExtentReader::new(&file, 0).map(Result::unwrap).collect()
}
