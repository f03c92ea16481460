//! What guests do to the disks between two snapshots.

use std::fs::File;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::support::disk;

/// Fills parts of the disks: data, holes, preallocated space, an end without data.
pub fn install(machine: &Machine, random: &mut Random) {
    for path in &machine.disks {
        let disk = File::options().read(true).write(true).open(path).unwrap();
        let size = disk.metadata().unwrap().len();
        if size == 0 {
            continue;
        }
        write(path, random, 0, size / 3);
        write(path, random, size / 2 + 1, size / 4);
        let (offset, length) = (size / 8 * 7, 64 << 10);
        let offset = i64::try_from(offset).unwrap();
        fallocate(&disk, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length).unwrap();
    }
}

/// A day: the first disk grows, the second shrinks, the third comes into being; all are written
/// to and discarded in places, by blocks and by odd numbers of bytes.
pub fn work(machine: &Machine, random: &mut Random) {
    for (at, path) in machine.disks.iter().enumerate() {
        let disk = File::options().read(true).write(true).open(path).unwrap();
        let size = disk.metadata().unwrap().len();
        let step = 1 + random.below(300_000);
        match at {
            1 => disk.set_len(size.saturating_sub(step)).unwrap(),
            _ => disk.set_len(size + step).unwrap(),
        }
        let size = disk.metadata().unwrap().len();
        for _ in 0..20 {
            let (offset, length) = if random.below(2) == 0 {
                (random.below(size / 4096) * 4096, 4096)
            } else {
                (random.below(size), 1 + random.below(20_000))
            };
            write(path, random, offset, length.min(size - offset));
        }
        for _ in 0..4 {
            let offset = random.below(size);
            let length = (1 + random.below(400_000)).min(size - offset);
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (offset, length) = (i64::try_from(offset), i64::try_from(length));
            fallocate(&disk, flags, offset.unwrap(), length.unwrap()).unwrap();
        }
        if at == 1 {
            // Shorter and longer again: what lay behind the end is zero now.
            disk.set_len(size - size / 10).unwrap();
            disk.set_len(size).unwrap();
        }
    }
}

fn write(path: &Path, random: &mut Random, offset: u64, length: u64) {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    random.fill(&mut bytes);
    disk::write(path, offset, &bytes);
}
