//! What a disk has left when its power goes: all that was flushed, and of the rest whatever chance
//! has let through.
//!
//! qemu's `blklogwrites` logs every write and every flush of a disk in the format of the kernel's
//! `drivers/md/dm-log-writes.c`: sectors of 512 bytes, the first a superblock, then for each entry
//! one with four little-endian u64 (sector, sectors, flags, length of a mark), its data behind it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use coriolis_ovm_exporter::operations::demo::guest::Random;

use super::image::run;

const SECTOR: u64 = 512;
/// A write that is torn is torn at these bytes.
const PIECE: usize = 4096;
const MAGIC: u64 = 0x6a_7366_7773_6872;
const FLUSH: u64 = 1;
/// Durable when it is answered.
const FUA: u64 = 2;

#[derive(Debug)]
pub struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Bytes, on the disk.
    offset: u64,
    /// Bytes.
    length: usize,
    flags: u64,
    /// Where the log has the data, and the next entry.
    data: u64,
    end: u64,
}

/// What becomes of the writes that were not flushed.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AllLost,
    SomeLost,
    /// Of a long write, a part may be there.
    Torn,
    AllThere,
}

const FATES: [Fate; 4] = [Fate::AllLost, Fate::SomeLost, Fate::Torn, Fate::AllThere];

impl WriteLog {
    /// Reads the log of a machine that has ended.
    pub fn read(path: &Path) -> anyhow::Result<WriteLog> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        ensure!(number(&file, 0)? == MAGIC, "{} is no log", path.display());
        let mut entries = Vec::new();
        let mut position = SECTOR;
        while position < size {
            let sectors = number(&file, position + 8)?;
            let flags = number(&file, position + 16)?;
            let data = position + SECTOR;
            let length = match flags {
                0 | FUA if sectors > 0 => sectors * SECTOR,
                FLUSH if sectors == 0 => 0,
                _ => bail!("{sectors} sectors with flags {flags} at {position}"),
            };
            entries.push(Entry {
                offset: number(&file, position)? * SECTOR,
                length: usize::try_from(length)?,
                flags,
                data,
                end: data + length,
            });
            position = data + length;
        }
        ensure!(position == size, "the log ends in the middle of an entry");
        Ok(WriteLog { file, entries })
    }

    /// How often the disk's cache was flushed.
    pub fn flushes(&self) -> usize {
        let flushes = self.entries.iter().filter(|entry| entry.flags == FLUSH);
        flushes.count()
    }

    /// The entries that were not flushed when the log had `length` bytes: from this one on, up to
    /// that one.
    fn unflushed(&self, length: u64) -> (usize, usize) {
        let end = self.entries.partition_point(|entry| entry.end <= length);
        let flush = self.entries[..end]
            .iter()
            .rposition(|entry| entry.flags == FLUSH)
            .map_or(0, |at| at + 1);
        (flush, end)
    }

    /// Does all writes of the log to an image.
    pub fn replay(&self, image: &Path) -> anyhow::Result<()> {
        let image = File::options().write(true).open(image)?;
        self.apply(&self.entries, &image)
    }

    fn apply(&self, entries: &[Entry], image: &File) -> anyhow::Result<()> {
        for entry in entries {
            image.write_all_at(&self.data(entry)?, entry.offset)?;
        }
        Ok(())
    }

    fn data(&self, entry: &Entry) -> anyhow::Result<Vec<u8>> {
        let mut data = vec![0; entry.length];
        self.file.read_exact_at(&mut data, entry.data)?;
        Ok(data)
    }
}

/// A disk whose power goes again and again, at ever later moments of one and the same life.
#[derive(Debug)]
pub struct Mortal {
    log: WriteLog,
    /// The image with all that was flushed at the moment that was reached.
    flushed: PathBuf,
    /// Entries.
    reached: usize,
}

impl Mortal {
    /// `image` is the disk as it was before the log began; it is changed.
    pub fn new(log: WriteLog, image: PathBuf) -> Mortal {
        Mortal {
            log,
            flushed: image,
            reached: 0,
        }
    }

    /// How many writes are in danger when the log has `length` bytes.
    pub fn endangered(&self, length: u64) -> usize {
        let (flush, end) = self.log.unflushed(length);
        end - flush
    }

    /// Makes `target` the disk as it is when power goes at the moment when the log had `length`
    /// bytes. Moments come in order. Returns how many writes were lost, whole or in part.
    pub fn lose(
        &mut self,
        length: u64,
        random: &mut Random,
        target: &Path,
    ) -> anyhow::Result<usize> {
        let entries = &self.log.entries;
        let (flush, end) = self.log.unflushed(length);
        if flush > self.reached {
            let image = File::options().write(true).open(&self.flushed)?;
            self.log.apply(&entries[self.reached..flush], &image)?;
            self.reached = flush;
        }
        copy(&self.flushed, target)?;
        let image = File::options().write(true).open(target)?;
        let fate = FATES[usize::try_from(random.below(FATES.len() as u64))?];
        let mut lost = 0;
        for entry in &entries[self.reached..end] {
            let data = self.log.data(entry)?;
            let piece = match fate {
                Fate::Torn => PIECE,
                _ => data.len(),
            };
            let mut whole = true;
            for (at, bytes) in data.chunks(piece).enumerate() {
                let there = match fate {
                    _ if entry.flags == FUA => true,
                    Fate::AllLost => false,
                    Fate::SomeLost | Fate::Torn => random.below(2) == 0,
                    Fate::AllThere => true,
                };
                if there {
                    image.write_all_at(bytes, entry.offset + (at * piece) as u64)?;
                }
                whole &= there;
            }
            lost += usize::from(!whole);
        }
        Ok(lost)
    }
}

/// Copies an image, holes as holes.
pub fn copy(image: &Path, target: &Path) -> anyhow::Result<()> {
    let mut cp = Command::new("cp");
    run(cp
        .args(["--sparse=always", "--reflink=auto"])
        .args([image, target]))
    .map(drop)
}

fn number(file: &File, position: u64) -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, position)
        .with_context(|| format!("the log ends before {position}"))?;
    Ok(u64::from_le_bytes(bytes))
}
