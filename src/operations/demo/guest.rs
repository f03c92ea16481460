//! What guests do to their disks while the exporter works.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            let bytes = self.number().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }
}

/// What a guest has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// Bytes written.
    pub written: u64,
    /// Bytes discarded: the guest's TRIM.
    pub punched: u64,
    /// Bytes that the disk has grown by.
    pub grown: u64,
}

const BLOCK: u64 = 4096;

/// Some writes of a block each, a few discarded stretches, and growth.
///
/// # Errors
/// The file system's.
pub fn work(disk: &Path, random: &mut Random) -> io::Result<Work> {
    let file = File::options().read(true).write(true).open(disk)?;
    let mut work = Work::default();
    let size = file.metadata()?.len();
    let grown = BLOCK * (1 + random.below(64));
    file.set_len(size + grown)?;
    work.grown = grown;
    let mut block = vec![0; 4096];
    for _ in 0..100 {
        random.fill(&mut block);
        file.write_all_at(&block, random.below((size + grown) / BLOCK) * BLOCK)?;
        work.written += BLOCK;
    }
    for _ in 0..5 {
        let length = BLOCK * (1 + random.below(256));
        let offset = random.below(size.saturating_sub(length) / BLOCK) * BLOCK;
        let range = (i64::try_from(offset), i64::try_from(length));
        if let (Ok(offset), Ok(length)) = range {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&file, flags, offset, length)?;
            work.punched += u64::try_from(length).unwrap_or(0);
        }
    }
    Ok(work)
}
