//! FIEMAP: where each byte of a file lies (`Documentation/filesystems/fiemap.rst`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::extents::{Extent, flags};

/// `FS_IOC_FIEMAP`, `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660B;
/// Write dirty data out first: without it a map of the past may come back unmarked.
const FIEMAP_FLAG_SYNC: u32 = 0x1;
/// Extents asked for in one call (56 KiB). More only makes each call longer.
const BATCH: u32 = 1024;

/// `struct fiemap`, without its array.
#[repr(C)]
#[derive(Default)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
struct Request {
    header: Header,
    extents: [RawExtent; BATCH as usize],
}

/// Reads a file's map from an offset on, batch by batch, as an iterator.
///
/// Each call asks up to the largest offset: kernels of the UEK line answer queries for a window
/// with too little. The next batch goes on where the last extent ended.
#[derive(Debug)]
pub struct ExtentReader<'f> {
    file: &'f File,
    flags: u32,
    batch: Vec<Extent>,
    taken: usize,
    position: u64,
    finished: bool,
}

impl<'f> ExtentReader<'f> {
    /// A reader of `file`'s map from byte `from` on. The first extent may begin before it.
    #[must_use]
    pub fn new(file: &'f File, from: u64) -> ExtentReader<'f> {
        ExtentReader::with(FIEMAP_FLAG_SYNC, file, from)
    }

    /// The same without dirty data being written out first: it does not wait for storage, and what
    /// has no place yet may be missing. OCFS2 gives every byte its place when it is written.
    #[must_use]
    pub fn as_it_is(file: &'f File, from: u64) -> ExtentReader<'f> {
        ExtentReader::with(0, file, from)
    }

    fn with(flags: u32, file: &'f File, from: u64) -> ExtentReader<'f> {
        ExtentReader {
            file,
            flags,
            batch: Vec::new(),
            taken: 0,
            position: from,
            finished: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut request = Box::new(Request {
            header: Header {
                start: self.position,
                length: u64::MAX - self.position,
                flags: self.flags,
                extent_count: BATCH,
                ..Header::default()
            },
            extents: [RawExtent::default(); BATCH as usize],
        });
        fiemap(self.file, &raw mut *request)?;
        let mapped = usize::try_from(request.header.mapped_extents.min(BATCH)).unwrap_or(0);
        self.batch.clear();
        self.taken = 0;
        for raw in request.extents.iter().take(mapped) {
            self.batch.push(Extent {
                logical: raw.logical,
                physical: raw.physical,
                length: raw.length,
                flags: raw.flags,
            });
        }
        match self.batch.last() {
            // LAST is a promise where it stands, but OCFS2 may leave it out: an empty answer
            // ends the map too.
            None => self.finished = true,
            Some(extent) if extent.flags & flags::LAST != 0 => self.finished = true,
            Some(extent) => {
                let end = extent.logical.saturating_add(extent.length);
                if end <= self.position {
                    return Err(io::Error::other(format!(
                        "the extent map does not advance past offset {}",
                        self.position
                    )));
                }
                self.position = end;
            }
        }
        Ok(())
    }
}

impl Iterator for ExtentReader<'_> {
    type Item = io::Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(extent) = self.batch.get(self.taken) {
                self.taken += 1;
                return Some(Ok(*extent));
            }
            if self.finished {
                return None;
            }
            if let Err(error) = self.fill() {
                self.finished = true;
                self.batch.clear();
                return Some(Err(error));
            }
        }
    }
}

/// How many extents a file has, without reading them.
///
/// # Errors
/// The kernel's: EOPNOTSUPP where the file system has no FIEMAP.
pub fn count(file: &File) -> io::Result<u64> {
    let mut header = Header {
        length: u64::MAX,
        flags: FIEMAP_FLAG_SYNC,
        ..Header::default()
    };
    fiemap(file, (&raw mut header).cast())?;
    Ok(header.mapped_extents.into())
}

/// The call itself. `request` points to a header that is followed by room for as many extents as
/// its `extent_count` says.
fn fiemap(file: &File, request: *mut Request) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed. Both callers pass a
    // live, exclusively owned header with room for `extent_count` extents behind it (`count`
    // asks for none), which is all that the kernel writes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Header>(), 32);
        assert_eq!(offset_of!(Header, flags), 16);
        assert_eq!(offset_of!(Header, mapped_extents), 20);
        assert_eq!(offset_of!(Header, extent_count), 24);
        assert_eq!(size_of::<RawExtent>(), 56);
        assert_eq!(offset_of!(RawExtent, physical), 8);
        assert_eq!(offset_of!(RawExtent, length), 16);
        assert_eq!(offset_of!(RawExtent, flags), 40);
        assert_eq!(offset_of!(Request, extents), 32);
        assert_eq!(size_of::<Request>(), 32 + 56 * 1024);
    }

    #[test]
    fn a_file_system_without_fiemap_says_so() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(count(&file).is_err());
        let mut reader = ExtentReader::new(&file, 0);
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }
}
