//! A guest that does to its disk, at random, whatever guests and administrators do.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::{Snapshot, SnapshotError};
use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;
use coriolis_ovm_exporter::sys::reflink::{self, CloneCall};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;

use super::{mapped, noise};

const BLOCK: u64 = 4096;
/// A disk never grows past this, where nothing else is said.
const LARGEST: u64 = 12 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Write,
    WriteDirect,
    WriteMapped,
    WriteZeros,
    /// The bytes that are there already.
    Rewrite,
    Punch,
    Shorten,
    Grow,
    Preallocate,
    /// The disk's file is replaced by a clone of itself.
    Replace,
    Sync,
}

const DEEDS: [Deed; 11] = [
    Deed::Write,
    Deed::WriteDirect,
    Deed::WriteMapped,
    Deed::WriteZeros,
    Deed::Rewrite,
    Deed::Punch,
    Deed::Shorten,
    Deed::Grow,
    Deed::Preallocate,
    Deed::Replace,
    Deed::Sync,
];

pub struct Disk {
    pub path: PathBuf,
    file: File,
    /// It never grows past this.
    largest: u64,
    pub random: Random,
    /// Since the last [`Disk::work`] began, for a failure's report.
    pub story: Vec<String>,
    /// Deeds so far.
    pub deeds: u64,
}

impl Disk {
    /// A new disk, partly written.
    pub fn new(path: PathBuf, random: Random) -> Disk {
        assert!(!path.exists());
        Disk::there(path, random, LARGEST)
    }

    /// The disk as it was left, or a new one.
    pub fn there(path: PathBuf, random: Random, largest: u64) -> Disk {
        // Half of a replacement, when the power went.
        let _ = fs::remove_file(path.with_extension("new"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap();
        let mut disk = Disk {
            path,
            file,
            largest,
            random,
            story: Vec::new(),
            deeds: 0,
        };
        if disk.size() == 0 {
            let size = 1 + disk.random.below(largest * 2 / 3);
            disk.file.set_len(size).unwrap();
            for _ in 0..8 {
                disk.act(Deed::Write);
            }
        }
        disk
    }

    /// The disk as the guest sees it.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// Does a handful of things.
    pub fn work(&mut self) {
        self.story.clear();
        for _ in 0..=self.random.below(8) {
            let deed = DEEDS[self.pick(DEEDS.len())];
            self.act(deed);
        }
    }

    pub fn pick(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).unwrap()
    }

    fn size(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    /// From a byte to a megabyte, short ones as likely as long ones.
    fn length(&mut self) -> u64 {
        let shift = self.random.below(21);
        1 + self.random.below(1 << shift)
    }

    /// Somewhere on the disk, to bytes, sectors, or blocks. Length 0 on an empty disk.
    fn stretch(&mut self, units: &[u64]) -> (u64, u64) {
        let size = self.size();
        let unit = units[self.pick(units.len())];
        let offset = self.random.below(size) / unit * unit;
        let length = self.length().next_multiple_of(unit);
        (offset, length.min(size.saturating_sub(offset)))
    }

    /// Random bytes, or one byte over and over.
    fn some_bytes(&mut self, length: u64) -> Vec<u8> {
        match self.random.below(2) {
            0 => noise(&mut self.random, length),
            _ => vec![7; usize::try_from(length).unwrap()],
        }
    }

    fn act(&mut self, deed: Deed) {
        self.deeds += 1;
        let (offset, length) = self.stretch(&[1, 512, BLOCK]);
        let mut told = format!("{deed:?} {offset}+{length}");
        match deed {
            Deed::Write => {
                // Also past the end.
                let length = self.length().min(self.largest - offset);
                let bytes = self.some_bytes(length);
                self.file.write_all_at(&bytes, offset).unwrap();
                told = format!("Write {offset}+{length}");
            }
            Deed::WriteZeros => {
                let bytes = vec![0; usize::try_from(length).unwrap()];
                self.file.write_all_at(&bytes, offset).unwrap();
            }
            Deed::Rewrite => {
                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                self.file.read_exact_at(&mut bytes, offset).unwrap();
                self.file.write_all_at(&bytes, offset).unwrap();
            }
            Deed::WriteDirect => told = self.write_direct(),
            Deed::WriteMapped => {
                if length > 0 {
                    let bytes = self.some_bytes(length);
                    let sync = self.random.below(2) == 0;
                    mapped::write(&self.file, offset, &bytes, sync);
                }
            }
            Deed::Punch => {
                let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
                self.allocate(FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep, offset, length);
            }
            Deed::Shorten => {
                // Now and then to nothing at all.
                let size = match self.random.below(20) {
                    0 => 0,
                    _ => self.size() - length,
                };
                self.file.set_len(size).unwrap();
                told = format!("Shorten to {size}");
            }
            Deed::Grow => {
                let size = (self.size() + 4 * self.length()).min(self.largest);
                self.file.set_len(size).unwrap();
                told = format!("Grow to {size}");
            }
            Deed::Preallocate => told = self.preallocate(offset),
            Deed::Replace => self.replace(),
            Deed::Sync => self.file.sync_all().unwrap(),
        }
        self.story.push(told);
    }

    fn write_direct(&mut self) -> String {
        let (offset, length) = self.stretch(&[512, BLOCK]);
        let length = length.next_multiple_of(512);
        let bytes = self.some_bytes(length);
        let mut buffer = AlignedBuffer::new(bytes.len());
        buffer[..bytes.len()].copy_from_slice(&bytes);
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.path)
            .unwrap();
        direct.write_all_at(&buffer[..bytes.len()], offset).unwrap();
        format!("WriteDirect {offset}+{length}")
    }

    /// A part of what is allocated is written too.
    fn preallocate(&mut self, offset: u64) -> String {
        let length = self.length().min(self.largest - offset);
        let keep = match self.random.below(2) {
            0 => FallocateFlags::FALLOC_FL_KEEP_SIZE,
            _ => FallocateFlags::empty(),
        };
        self.allocate(keep, offset, length);
        let third = length / 3;
        let bytes = self.some_bytes(third);
        self.file.write_all_at(&bytes, offset + third).unwrap();
        format!("Preallocate {offset}+{length} {keep:?}, {third} written")
    }

    fn allocate(&self, flags: FallocateFlags, offset: u64, length: u64) {
        if length > 0 {
            let (offset, length) = (offset.try_into().unwrap(), length.try_into().unwrap());
            fallocate(&self.file, flags, offset, length)
                .unwrap_or_else(|error| panic!("{flags:?} {offset}+{length}: {error}"));
        }
    }

    /// Gives back what was allocated past the end, as people are told to where a snapshot is refused for
    /// it.
    fn trim(&self) {
        self.file.set_len(self.size()).unwrap();
    }

    fn replace(&mut self) {
        let new = self.path.with_extension("new");
        clone(&self.file, &self.path, &new);
        fs::rename(&new, &self.path).unwrap();
        self.file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap();
    }
}

/// A snapshot of what lies on these disks; where it is refused for space past an end, that is given
/// back, and it is taken then. Whether it was refused.
pub fn snapshot(
    disks: &[&Disk],
    take: impl Fn() -> Result<Snapshot, SnapshotError>,
) -> (Snapshot, bool) {
    match take() {
        Ok(snapshot) => (snapshot, false),
        Err(SnapshotError::Incompatible { reason, .. }) if reason.contains("past its end") => {
            disks.iter().for_each(|disk| disk.trim());
            (take().unwrap(), true)
        }
        Err(error) => panic!("{error}"),
    }
}

fn clone(file: &File, path: &Path, target: &Path) {
    let with = |call| reflink::prepare(call, file, path, target)?.run()?.open();
    match with(CloneCall::Ficlone) {
        // As `without_ficlone` has it.
        Err(error) if reflink::is_wrong_call(&error) => {
            // Whoever clones by hand must not clone what lies past the end either.
            file.set_len(file.metadata().unwrap().len()).unwrap();
            with(CloneCall::Ocfs2Reflink)
        }
        other => other,
    }
    .unwrap();
}
