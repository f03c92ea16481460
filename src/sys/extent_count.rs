//! How many extents a file has, for as little as the file system can tell it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::{attributes, fiemap};

/// The number, after the file's dirty pages have been written out: what is not allocated yet has no
/// extent.
///
/// XFS has the number in the inode. Elsewhere the map is gone through, by the kernel, which takes a
/// second for a million extents. XFS counts an extent of which a part is shared with other files as
/// one, a map as several.
///
/// # Errors
/// The kernel's: EIO, or EOPNOTSUPP where the file system has no FIEMAP.
pub fn of(file: &File) -> io::Result<u64> {
    write_out(file)?;
    match attributes::xfs_extents(file) {
        Some(count) => Ok(count),
        None => fiemap::count(file),
    }
}

/// Writes dirty pages to the device, without waiting for its cache or a journal.
fn write_out(file: &File) -> io::Result<()> {
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open while `file` is borrowed; the call takes numbers only.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, all) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
