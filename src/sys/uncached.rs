//! Reading a file without filling the node's small memory with its pages.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::aligned::ALIGNMENT;
use super::file_system::{self, Kind};
use super::nowait;
use super::residency::Residency;

/// A file that is read without a trace in the page cache.
///
/// What is there already is taken from there, and stays. Everything else is read past the cache,
/// with O_DIRECT where the file system has it. Where it does not, and where it reads through the
/// cache all the same (btrfs, compressed), pages are dropped after each read; that works only in
/// steps of some size, so reads should be large.
#[derive(Debug)]
pub struct UncachedFile {
    file: File,
    size: u64,
    cached: Option<Cached>,
    /// Reads leave nothing in the cache: what is there of this file is somebody else's.
    leaves_nothing: bool,
    /// Pages may have been left behind.
    left: AtomicBool,
}

/// The way to what is in the cache.
#[derive(Debug)]
struct Cached {
    /// The same file without O_DIRECT.
    file: File,
    residency: Residency,
    /// A read that must not wait has never worked on this file, or the kernel has none.
    always_waits: AtomicBool,
}

impl UncachedFile {
    /// Opens a regular file for reading; a symbolic link is refused.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::InvalidInput`] for what is not a regular file.
    pub fn open(path: &Path) -> io::Result<UncachedFile> {
        let open = |flags| {
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | flags)
                .open(path)
        };
        let (file, is_direct) = match open(libc::O_DIRECT) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (open(0)?, false),
            other => (other?, true),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let same = |other: &File| {
            let other = other.metadata().ok();
            other
                .is_some_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()))
        };
        // Without these nothing is lost but time.
        let cached = open(0).ok().filter(same).and_then(|file| {
            let residency = Residency::of(&file, metadata.len()).ok()?;
            Some(Cached {
                file,
                residency,
                always_waits: AtomicBool::new(false),
            })
        });
        // Others may read through the cache when they cannot do otherwise.
        let is_xfs = || file_system::status(&file).is_ok_and(|status| status.kind == Kind::Xfs);
        let file = UncachedFile {
            size: metadata.len(),
            leaves_nothing: is_direct && is_xfs(),
            file,
            cached,
            left: AtomicBool::new(false),
        };
        // Where a read goes through the cache all the same, the kernel would read ahead of it, and
        // what arrives after the last page was dropped would stay.
        advise(&file.file, 0, 0, libc::POSIX_FADV_RANDOM);
        if let Some(cached) = &file.cached {
            advise(&cached.file, 0, 0, libc::POSIX_FADV_RANDOM);
        }
        Ok(file)
    }

    /// The file's size when it was opened, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The open file, for its map and its attributes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads `length` bytes at `offset` (any alignment, inside the file) into `buffer`, whose address
    /// is a multiple of [`ALIGNMENT`], and says where in the buffer they begin.
    ///
    /// # Errors
    /// EIO and the like; [`io::ErrorKind::UnexpectedEof`] when the file is shorter than it was;
    /// [`io::ErrorKind::InvalidInput`] when the buffer is too small for the aligned read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64, length: usize) -> io::Result<usize> {
        let unit = ALIGNMENT as u64;
        let lead = usize::try_from(offset % unit).unwrap_or(0);
        let wanted = lead + length;
        let aligned = wanted.next_multiple_of(ALIGNMENT);
        let base = offset - offset % unit;
        let Some(room) = buffer.get_mut(..aligned) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the read does not fit the buffer",
            ));
        };
        if self.read_cached(&mut room[lead..wanted], offset) {
            return Ok(lead);
        }
        if !self.leaves_nothing {
            self.left.store(true, Ordering::Relaxed);
        }
        let mut filled = 0;
        while filled < wanted {
            // A short read ends inside a block only at the end of the file.
            match self.file.read_at(&mut room[filled..], base + filled as u64) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file has become shorter",
                    ));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.leaves_nothing {
            self.drop_pages(base, aligned as u64);
        }
        Ok(lead)
    }

    /// Whether all of a stretch is cached.
    #[must_use]
    pub fn is_cached(&self, offset: u64, length: u64) -> bool {
        usize::try_from(length).is_ok_and(|length| {
            let cached = self.cached.as_ref();
            cached.is_some_and(|cached| cached.residency.is_cached(offset, length))
        })
    }

    /// Whether [`UncachedFile::read_now`] is likely to read this stretch.
    #[must_use]
    pub fn comes_now(&self, offset: u64, length: usize) -> bool {
        self.cached.as_ref().is_some_and(|cached| {
            !cached.always_waits.load(Ordering::Relaxed)
                && cached.residency.is_cached(offset, length)
        })
    }

    /// Fills the buffer, if all of it is cached and comes without waiting; never touches a device,
    /// so it may be called where nothing may block. What the buffer holds otherwise is of no use.
    pub fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let Some(cached) = self
            .cached
            .as_ref()
            .filter(|_| self.comes_now(offset, buffer.len()))
        else {
            return false;
        };
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            match nowait::read_cached(&cached.file, &mut buffer[filled..], at) {
                Ok(0) => return false,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if nowait::is_unsupported(&error) {
                        cached.always_waits.store(true, Ordering::Relaxed);
                    } else {
                        // It was taken from the cache a moment ago, and may be on its way back.
                        self.left.store(true, Ordering::Relaxed);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Fills the buffer, if all of it is cached.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> bool {
        self.cached.as_ref().is_some_and(|cached| {
            cached.residency.is_cached(offset, buffer.len())
                && cached.file.read_exact_at(buffer, offset).is_ok()
        })
    }

    /// Tells the kernel that the pages of a stretch are not needed. Costs nothing where none are
    /// cached.
    fn drop_pages(&self, offset: u64, length: u64) {
        advise(&self.file, offset, length, libc::POSIX_FADV_DONTNEED);
    }
}

/// Tells the kernel what to do with the pages of a stretch; of length 0 it is the rest of the file.
fn advise(file: &File, offset: u64, length: u64, advice: libc::c_int) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the descriptor is open; the call takes numbers only. Its advice may be ignored.
    unsafe {
        libc::posix_fadvise64(file.as_raw_fd(), offset, length, advice);
    }
}

impl Drop for UncachedFile {
    fn drop(&mut self) {
        // What small steps left behind.
        if *self.left.get_mut() {
            self.drop_pages(0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::aligned::AlignedBuffer;
    use super::*;

    #[test]
    fn any_offset_and_length_reads_the_same_bytes() {
        for dir in [
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in("/dev/shm").unwrap(),
        ] {
            let path = dir.path().join("disk");
            let bytes: Vec<u8> = (0..50_001_u32).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            File::open(&path).unwrap().sync_all().unwrap();
            let file = UncachedFile::open(&path).unwrap();
            assert_eq!(file.size(), 50_001);
            let mut buffer = AlignedBuffer::new(64 << 10);
            for (offset, length) in [
                (0, 50_001),
                (1, 1),
                (4095, 2),
                (8192, 4096),
                (50_000, 1),
                (12_345, 30_000),
            ] {
                let at = file.read_at(&mut buffer, offset as u64, length).unwrap();
                assert_eq!(buffer[at..at + length], bytes[offset..offset + length]);
            }
            let error = file.read_at(&mut buffer, 50_000, 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(!file.read_now(&mut buffer[..2], 50_000));
        }
    }

    #[test]
    fn what_is_cached_comes_at_once_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let file = UncachedFile::open(&path).unwrap();
        std::fs::read(&path).unwrap();
        let mut buffer = AlignedBuffer::new(1 << 20);
        let now = file.read_now(&mut buffer[..777_777], 1_234_567);
        let waits = file.cached.as_ref().unwrap();
        assert_ne!(now, waits.always_waits.load(Ordering::Relaxed));
        if now {
            assert_eq!(buffer[..777_777], bytes[1_234_567..1_234_567 + 777_777]);
        }
        advise(&file.file, 0, 0, libc::POSIX_FADV_DONTNEED);
        assert!(!file.is_cached(1_234_567, 777_777));
        assert!(!file.read_now(&mut buffer[..777_777], 1_234_567));
        assert!(
            !file.is_cached(1_234_567, 1),
            "looking has brought it there"
        );
        // A kernel, or a file system, that cannot: remembered, and read the other way.
        std::fs::read(&path).unwrap();
        waits.always_waits.store(true, Ordering::Relaxed);
        assert!(!file.read_now(&mut buffer[..10], 0));
        let at = file.read_at(&mut buffer, 5, 10).unwrap();
        assert_eq!(buffer[at..at + 10], bytes[5..15]);
    }
}
