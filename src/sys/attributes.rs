//! Inode attributes: the immutable flag that seals a snapshot (`chattr +i`), and NOCOW (`+C`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `_IOR('f', 1, long)`. The kernel transfers an `int` all the same.
const FS_IOC_GETFLAGS: libc::Ioctl = 0x8008_6601;
/// `_IOW('f', 2, long)`.
const FS_IOC_SETFLAGS: libc::Ioctl = 0x4008_6602;

/// `_IOR('X', 31, struct fsxattr)`.
const FS_IOC_FSGETXATTR: libc::Ioctl = 0x801C_581F;
/// `FS_XFLAG_REALTIME`.
const XFLAG_REALTIME: u32 = 0x1;

/// `struct fsxattr`, 28 bytes.
#[repr(C)]
#[derive(Default)]
struct ExtendedAttributes {
    xflags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u32; 2],
}

/// `FS_IMMUTABLE_FL`: no write, no truncation, no unlinking, not by root either.
pub const IMMUTABLE: u32 = 0x10;
/// `FS_NOCOW_FL`: btrfs writes in place; a clone needs the same setting on both files.
pub const NOCOW: u32 = 0x0080_0000;

/// A file's attribute bits.
///
/// # Errors
/// ENOTTY or EOPNOTSUPP where the file system has none.
pub fn get(file: &File) -> io::Result<u32> {
    // Room for a long: some kernels of old wrote one.
    let mut bits: [u32; 2] = [0; 2];
    // SAFETY: the descriptor is open while `file` is borrowed; the kernel writes at most a long
    // (8 bytes) to the array, which is that large and suitably aligned for the int it writes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFLAGS, bits.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bits[0])
}

/// Sets or clears one attribute bit, leaving the others. Nothing is written where it is so already.
///
/// # Errors
/// EPERM without `CAP_LINUX_IMMUTABLE` for [`IMMUTABLE`]; ENOTTY or EOPNOTSUPP where the file
/// system has no attributes.
pub fn set(file: &File, bit: u32, on: bool) -> io::Result<()> {
    let before = get(file)?;
    let after = if on { before | bit } else { before & !bit };
    if after == before {
        return Ok(());
    }
    let bits: [u32; 2] = [after, 0];
    // SAFETY: the descriptor is open while `file` is borrowed; the kernel reads at most a long
    // (8 bytes) from the array.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_SETFLAGS, bits.as_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether a file's data lie on an XFS realtime device: its addresses count from there, so they
/// mean nothing beside those of a file on the main device. False where the file system knows no
/// such thing.
#[must_use]
pub fn is_realtime(file: &File) -> bool {
    extended(file).is_some_and(|found| found.xflags & XFLAG_REALTIME != 0)
}

/// How many extents XFS counts in the inode. None on any other file system (those that know the
/// call say 0), for an empty file, and for more than the field has room for.
#[must_use]
pub fn xfs_extents(file: &File) -> Option<u64> {
    match extended(file)?.extents {
        0 | u32::MAX => None,
        count => Some(count.into()),
    }
}

fn extended(file: &File) -> Option<ExtendedAttributes> {
    let mut found = ExtendedAttributes::default();
    // SAFETY: the descriptor is open while `file` is borrowed; the kernel writes one fsxattr, the
    // size of which is encoded in the request's number.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSGETXATTR, &raw mut found) };
    (result == 0).then_some(found)
}

/// Whether a file carries the immutable flag; false where the file system has no attributes.
#[must_use]
pub fn is_immutable(file: &File) -> bool {
    get(file).is_ok_and(|bits| bits & IMMUTABLE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<ExtendedAttributes>(), 28);
        let encoded = (2 << 30) | (28 << 16) | (u32::from(b'X') << 8) | 31;
        assert_eq!(FS_IOC_FSGETXATTR, libc::Ioctl::from(encoded));
    }
}
