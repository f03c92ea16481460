//! Which parts of a file are in the page cache.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// Pages asked for in one call.
const AT_ONCE: usize = 256;

/// Tells whether a part of a file is in the page cache, without bringing it there.
///
/// The file is mapped for that and the mapping never touched: `mincore(2)` looks at the cache, on
/// every kernel, while a read that must not wait (`RWF_NOWAIT`) starts to read ahead on newer ones.
#[derive(Debug)]
pub struct Residency {
    start: NonNull<libc::c_void>,
    length: usize,
    page: usize,
}

// SAFETY: the mapping is never read or written, and belongs to this value until it is dropped.
unsafe impl Send for Residency {}
// SAFETY: as above; `mincore` may be called from many threads.
unsafe impl Sync for Residency {}

impl Residency {
    /// Of the first `size` bytes of a file that is open for reading.
    ///
    /// # Errors
    /// That of `mmap(2)`: no address space, a file that cannot be mapped. An empty file cannot.
    pub fn of(file: &File, size: u64) -> io::Result<Residency> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        // SAFETY: takes a number, gives a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address of the kernel's choice; the descriptor is open.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Residency {
            start,
            length,
            page,
        })
    }

    /// Whether all pages of a stretch are cached now. False outside the file.
    #[must_use]
    pub fn is_cached(&self, offset: u64, length: usize) -> bool {
        let Some(end) = usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_add(length))
            .filter(|end| *end <= self.length)
        else {
            return false;
        };
        let mut at = (end - length) / self.page * self.page;
        let mut found = [0_u8; AT_ONCE];
        while at < end {
            let step = (end - at).min(AT_ONCE * self.page);
            // SAFETY: at + step lies in the mapping; `found` has a byte for each page of it.
            let failed = unsafe {
                libc::mincore(
                    self.start.as_ptr().byte_add(at),
                    step,
                    found.as_mut_ptr().cast(),
                )
            } != 0;
            let pages = step.div_ceil(self.page);
            if failed || found[..pages].iter().any(|page| page & 1 == 0) {
                return false;
            }
            at += step;
        }
        true
    }
}

impl Drop for Residency {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe {
            libc::munmap(self.start.as_ptr(), self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_was_read_is_cached_and_what_was_dropped_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![1; (4 << 20) + 5]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        let size = file.metadata().unwrap().len();
        let residency = Residency::of(&file, size).unwrap();
        // SAFETY: the descriptor is open; takes numbers only.
        unsafe {
            let all = libc::POSIX_FADV_DONTNEED;
            libc::posix_fadvise64(file.as_raw_fd(), 0, 0, all);
            // Else the read below brings more than it asks for.
            libc::posix_fadvise64(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM);
        }
        assert!(!residency.is_cached(0, 1));
        assert!(!residency.is_cached(0, 4 << 20));
        file.read_exact_at(&mut [0; 9000], (1 << 20) + 5).unwrap();
        assert!(residency.is_cached((1 << 20) + 5, 9000));
        assert!(!residency.is_cached((1 << 20) + 5, 3 << 20));
        assert!(!residency.is_cached((1 << 20) - 1, 9000));
        std::fs::read(&path).unwrap();
        assert!(residency.is_cached(0, (4 << 20) + 5));
        assert!(residency.is_cached(size - 1, 1));
        assert!(!residency.is_cached(0, (4 << 20) + 6));
        assert!(!residency.is_cached(u64::MAX, 2));
    }

    #[test]
    fn an_empty_file_cannot_be_asked_about() {
        let file = tempfile::tempfile().unwrap();
        assert!(Residency::of(&file, 0).is_err());
    }
}
