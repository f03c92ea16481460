//! Memory that O_DIRECT takes.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{self, NonNull};

/// Alignment of address, offset and length that every device takes, bytes.
pub const ALIGNMENT: usize = 4096;

/// A buffer whose address is a multiple of [`ALIGNMENT`].
///
/// It is a mapping of its own: the kernel gives it zeroed when it is first touched, and gets all of
/// it back when it is dropped. From an allocator, buffers that many threads make and drop would
/// leave many times their sum in the process.
#[derive(Debug)]
pub struct AlignedBuffer {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the buffer owns its memory alone and hands it out by the usual borrowing rules.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A zeroed buffer of at least `length` bytes, rounded up to the alignment.
    ///
    /// # Panics
    /// When the length does not fit the address space; lengths come from our own constants. As
    /// every allocation, this ends the process when there is no memory.
    #[must_use]
    pub fn new(length: usize) -> AlignedBuffer {
        let layout = Layout::from_size_align(length.max(1), ALIGNMENT)
            .expect("a read buffer's length is a small constant")
            .pad_to_align();
        // SAFETY: a new private mapping at an address of the kernel's choice, of no file.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                layout.size(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let start = (start != libc::MAP_FAILED)
            .then(|| NonNull::new(start.cast()))
            .flatten();
        let Some(start) = start else {
            handle_alloc_error(layout)
        };
        AlignedBuffer {
            start,
            length: layout.size(),
        }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `length` bytes, zeroed by the kernel, ours alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the exclusive borrow of self makes this the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: our own mapping of this length, which nobody uses any more.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_length_are_aligned() {
        for length in [0, 1, 4096, 5000, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.len() % ALIGNMENT, 0);
            assert!(buffer.len() >= length);
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(7);
        }
    }
}
