//! Writing through a shared mapping.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use nix::libc;

const PAGE: u64 = 4096;

/// Puts `bytes` at `offset`, inside the file. With `sync` they are written out before this
/// returns; without, nothing but the page tables knows of them.
pub fn write(file: &File, offset: u64, bytes: &[u8], sync: bool) {
    assert!(offset + bytes.len() as u64 <= file.metadata().unwrap().len());
    let start = offset / PAGE * PAGE;
    let lead = usize::try_from(offset - start).unwrap();
    let length = lead + bytes.len();
    // SAFETY: a new shared mapping at an address of the kernel's choice, of an open file.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            start.try_into().unwrap(),
        )
    };
    assert_ne!(address, libc::MAP_FAILED, "mmap");
    let mapping = NonNull::new(address.cast::<u8>()).unwrap();
    // SAFETY: the mapping has `length` bytes, all inside the file, which nothing shortens
    // meanwhile: the guest does one thing at a time.
    unsafe {
        mapping
            .add(lead)
            .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
    }
    if sync {
        // SAFETY: as above; the address is the mapping's own.
        assert_eq!(unsafe { libc::msync(address, length, libc::MS_SYNC) }, 0);
    }
    // SAFETY: mapped above, unmapped once, not used after.
    assert_eq!(unsafe { libc::munmap(address, length) }, 0);
}
