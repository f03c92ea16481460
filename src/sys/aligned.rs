//! Memory that O_DIRECT takes.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Alignment of address, offset and length that every device takes, bytes.
pub const ALIGNMENT: usize = 4096;

/// A buffer whose address is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns its memory alone and hands it out by the usual borrowing rules.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A zeroed buffer of at least `length` bytes, rounded up to the alignment.
    ///
    /// # Panics
    /// When the length does not fit the address space; lengths come from our own constants.
    #[must_use]
    pub fn new(length: usize) -> AlignedBuffer {
        let rounded = length.max(1).next_multiple_of(ALIGNMENT);
        let layout = Layout::from_size_align(rounded, ALIGNMENT)
            .expect("a read buffer's length is a small constant");
        // SAFETY: the layout's size is at least ALIGNMENT, never zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        AlignedBuffer { start, layout }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `size` bytes, initialised by alloc_zeroed, ours alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the exclusive borrow of self makes this the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout, freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
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
