//! A guest that does to its disk, at random, whatever a guest or an admin may do.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::sys::aligned::AlignedBuffer;
use nix::fcntl::{FallocateFlags, fallocate};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::super::support::node::Kind;
use super::house::{shell, text};
use super::mapped;

const BLOCK: u64 = 4096;
/// A disk never grows past this.
const LARGEST: u64 = 24 << 20;

/// What a guest may do. Each has the same chance; those that a file system does not know do
/// nothing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Write,
    WriteDirect,
    WriteMapped,
    WriteZeros,
    Punch,
    ZeroRange,
    Shorten,
    Grow,
    Preallocate,
    CopyRange,
    CloneRange,
    Dedupe,
    /// A stretch of an older snapshot comes back, at the same or at another place.
    Restore,
    /// The disk's file is replaced by a clone of itself.
    Replace,
    Collapse,
    Insert,
    Unshare,
    Defragment,
    Sync,
}

const DEEDS: [Deed; 19] = [
    Deed::Write,
    Deed::WriteDirect,
    Deed::WriteMapped,
    Deed::WriteZeros,
    Deed::Punch,
    Deed::ZeroRange,
    Deed::Shorten,
    Deed::Grow,
    Deed::Preallocate,
    Deed::CopyRange,
    Deed::CloneRange,
    Deed::Dedupe,
    Deed::Restore,
    Deed::Replace,
    Deed::Collapse,
    Deed::Insert,
    Deed::Unshare,
    Deed::Defragment,
    Deed::Sync,
];

/// A disk and what was done to it.
#[derive(Debug)]
pub struct Guest {
    kind: Kind,
    path: PathBuf,
    file: File,
    random: StdRng,
    /// In words, for a failure's report.
    pub story: Vec<String>,
}

impl Guest {
    /// A new disk, partly written.
    pub fn new(kind: Kind, path: PathBuf, mut random: StdRng) -> Guest {
        let file = open_new(&path);
        file.set_len(random.random_range(4..16) << 20).unwrap();
        let mut guest = Guest {
            kind,
            path,
            file,
            random,
            story: Vec::new(),
        };
        for _ in 0..12 {
            guest.act(Deed::Write, None);
        }
        guest
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk as the guest sees it.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    /// Does a handful of things. `older` is the file of some snapshot.
    pub fn work(&mut self, older: Option<&Path>) {
        self.story.clear();
        for _ in 0..self.random.random_range(1..9) {
            let deed = DEEDS[self.below(DEEDS.len())];
            self.act(deed, older);
        }
    }

    fn size(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    /// Somewhere on the disk: offset and length, of any alignment or in blocks, short ones as
    /// likely as long ones. Length 0 on an empty disk.
    fn stretch(&mut self, aligned: bool) -> (u64, u64) {
        let size = self.size();
        let unit = match self.below(3) {
            _ if aligned => BLOCK,
            0 => 1,
            1 => 512,
            _ => BLOCK,
        };
        let offset = self.random.random_range(0..size.max(1)) / unit * unit;
        let length = self.length().next_multiple_of(unit);
        (offset, length.min(size.saturating_sub(offset)))
    }

    /// From a byte to a megabyte, short ones as likely as long ones.
    fn length(&mut self) -> u64 {
        let shift = self.random.random_range(0..=20);
        self.random.random_range(1..=1_u64 << shift)
    }

    fn noise(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        // Half of it repeats itself, so that a compressing file system compresses.
        if self.random.random() {
            let byte = self.random.random_range(1..=255);
            bytes.fill(byte);
        } else {
            self.random.fill_bytes(&mut bytes);
        }
        bytes
    }

    fn act(&mut self, deed: Deed, older: Option<&Path>) {
        let (offset, length) = self.stretch(false);
        let mut told = format!("{deed:?} {offset}+{length}");
        match deed {
            Deed::Write => {
                // May go past the end.
                let length = self.length().min(LARGEST - offset);
                let bytes = self.noise(length);
                self.file.write_all_at(&bytes, offset).unwrap();
                told = format!("Write {offset}+{length}");
            }
            Deed::WriteZeros => {
                let bytes = vec![0; usize::try_from(length).unwrap()];
                self.file.write_all_at(&bytes, offset).unwrap();
            }
            Deed::WriteDirect => told = self.write_direct(),
            Deed::WriteMapped => told = self.write_mapped(offset, length),
            Deed::Punch => self.allocate(
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
                offset,
                length,
            ),
            Deed::ZeroRange => {
                let keep = self.keep_size();
                self.allocate(
                    FallocateFlags::FALLOC_FL_ZERO_RANGE | keep,
                    offset,
                    length + self.end_slack(offset + length),
                );
            }
            Deed::Shorten => {
                let size = self.size();
                // Now and then to nothing at all.
                let size = if self.below(20) == 0 {
                    0
                } else {
                    size - length
                };
                self.file.set_len(size).unwrap();
                told = format!("Shorten to {size}");
            }
            Deed::Grow => {
                let size = (self.size() + 4 * self.length()).min(LARGEST);
                self.file.set_len(size).unwrap();
                told = format!("Grow to {size}");
            }
            Deed::Preallocate => {
                let keep = self.keep_size();
                let room = length + self.end_slack(offset + length);
                self.allocate(keep, offset, room);
                // A part of it is written, if it lies inside or makes the disk longer.
                let bytes = self.noise(room / 3);
                self.file.write_all_at(&bytes, offset + room / 3).unwrap();
                told = format!("Preallocate {offset}+{room} {keep:?}");
            }
            Deed::CopyRange => told = self.within("copy_range", offset, length),
            Deed::CloneRange => {
                let (offset, length) = self.stretch(true);
                told = self.within("reflink", offset, length / BLOCK * BLOCK);
            }
            Deed::Dedupe => told = self.dedupe(),
            Deed::Restore => told = self.restore(older),
            Deed::Replace => self.replace(),
            Deed::Collapse | Deed::Insert => told = self.shift(deed),
            Deed::Unshare => {
                if self.kind == Kind::Xfs {
                    self.allocate(FallocateFlags::FALLOC_FL_UNSHARE_RANGE, offset, length);
                }
            }
            Deed::Defragment => told = self.defragment(),
            Deed::Sync => self.file.sync_all().unwrap(),
        }
        self.story.push(told);
    }

    fn keep_size(&mut self) -> FallocateFlags {
        if self.random.random() {
            FallocateFlags::FALLOC_FL_KEEP_SIZE
        } else {
            FallocateFlags::empty()
        }
    }

    /// How far an allocation that ends at `end` may reach past it: past the end of the disk, as
    /// far as the largest disk goes.
    fn end_slack(&self, end: u64) -> u64 {
        if end == self.size() {
            100_000.min(LARGEST.saturating_sub(end))
        } else {
            0
        }
    }

    fn allocate(&self, flags: FallocateFlags, offset: u64, length: u64) {
        if length > 0 {
            let (offset, length) = (offset.try_into().unwrap(), length.try_into().unwrap());
            fallocate(&self.file, flags, offset, length)
                .unwrap_or_else(|error| panic!("{flags:?} {offset}+{length}: {error}"));
        }
    }

    fn write_direct(&mut self) -> String {
        let (offset, length) = self.stretch(true);
        let length = length.next_multiple_of(BLOCK);
        let mut buffer = AlignedBuffer::new(usize::try_from(length).unwrap());
        let bytes = self.noise(length);
        buffer[..bytes.len()].copy_from_slice(&bytes);
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_DIRECT)
            .open(&self.path)
            .unwrap();
        direct.write_all_at(&buffer[..bytes.len()], offset).unwrap();
        format!("WriteDirect {offset}+{length}")
    }

    fn write_mapped(&mut self, offset: u64, length: u64) -> String {
        if length == 0 {
            return "WriteMapped nothing".to_owned();
        }
        // In the last page a mapping lets a guest write past the end of the file.
        let beyond = (offset + length).next_multiple_of(BLOCK) - (offset + length);
        let extra = if self.below(4) == 0 { beyond } else { 0 };
        let sync = self.random.random();
        let bytes = self.noise(length + extra);
        mapped::write(&self.file, offset, &bytes, sync);
        format!("WriteMapped {offset}+{length}+{extra}, sync {sync}")
    }

    /// Copies or clones a stretch to another place of the disk.
    fn within(&mut self, command: &str, offset: u64, length: u64) -> String {
        let length = length.min(self.size() / 4);
        let (length, unit) = match command {
            "reflink" => (length / BLOCK * BLOCK, BLOCK),
            _ => (length, 1),
        };
        let target = self.random.random_range(0..self.size().max(1)) / unit * unit;
        if length == 0 || target.abs_diff(offset) < length || target + length > LARGEST {
            return format!("{command} nothing");
        }
        let path = text(&self.path).to_owned();
        let command = match command {
            "reflink" => format!("reflink {path} {offset} {target} {length}"),
            _ => format!("copy_range -s {offset} -d {target} -l {length} {path}"),
        };
        self.xfs_io(&command);
        command
    }

    /// The same bytes twice, then stored once.
    fn dedupe(&mut self) -> String {
        let (offset, length) = self.stretch(true);
        let length = length / BLOCK * BLOCK;
        let (target, _) = self.stretch(true);
        let size = self.size();
        if length == 0 || target.abs_diff(offset) < length || target + length > size {
            return "Dedupe nothing".to_owned();
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        self.file.write_all_at(&bytes, target).unwrap();
        let command = format!("dedupe {} {offset} {target} {length}", text(&self.path));
        self.xfs_io(&command);
        command
    }

    fn restore(&mut self, older: Option<&Path>) -> String {
        let Some(older) = older else {
            return "Restore nothing".to_owned();
        };
        let (offset, length) = self.stretch(true);
        let there = fs::metadata(older).unwrap().len();
        let length = length.min(there.saturating_sub(offset)) / BLOCK * BLOCK;
        if length == 0 {
            return "Restore nothing".to_owned();
        }
        let target = if self.random.random() {
            offset
        } else {
            self.stretch(true).0.min(LARGEST - length)
        };
        let command = format!("reflink {} {offset} {target} {length}", text(older));
        self.xfs_io(&command);
        command
    }

    fn replace(&mut self) {
        let new = self.path.with_extension("new");
        let (said, worked) = shell("cp", &["--reflink=always", text(&self.path), text(&new)]);
        assert!(worked, "{said}");
        fs::rename(&new, &self.path).unwrap();
        self.file = open_old(&self.path);
    }

    /// Cuts a stretch out, or a hole in: all that follows changes its place in the file, not on
    /// the device. Only XFS does that.
    fn shift(&mut self, deed: Deed) -> String {
        let (offset, length) = self.stretch(true);
        let (length, size) = (length / BLOCK * BLOCK, self.size());
        let fits = if deed == Deed::Insert {
            size + length <= LARGEST
        } else {
            offset + length < size
        };
        if self.kind != Kind::Xfs || length == 0 || offset >= size || !fits {
            return format!("{deed:?} nothing");
        }
        let flags = if deed == Deed::Insert {
            FallocateFlags::FALLOC_FL_INSERT_RANGE
        } else {
            FallocateFlags::FALLOC_FL_COLLAPSE_RANGE
        };
        self.allocate(flags, offset, length);
        format!("{deed:?} {offset}+{length}")
    }

    fn defragment(&mut self) -> String {
        let path = text(&self.path).to_owned();
        let (said, worked) = if self.kind == Kind::Xfs {
            shell("xfs_fsr", &[&path])
        } else if self.random.random() {
            shell("btrfs", &["filesystem", "defragment", &path])
        } else {
            shell("btrfs", &["filesystem", "defragment", "-czstd", &path])
        };
        // xfs_fsr declines a file that it cannot improve, and says so by its status.
        assert!(worked || self.kind == Kind::Xfs, "{said}");
        format!("Defragment: {}", said.trim())
    }

    fn xfs_io(&self, command: &str) {
        let (said, worked) = shell("xfs_io", &["-c", command, text(&self.path)]);
        // It says what it did, or why not.
        let done = said.is_empty() || said.contains("linked ") || said.contains("deduped ");
        assert!(worked && done, "{command}: {said}");
    }
}

fn open_new(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

fn open_old(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}
