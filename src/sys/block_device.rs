//! What a block device tells of itself, and zeros by its own means (`include/uapi/linux/fs.h`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `_IO(0x12, 94)`.
const BLKROGET: libc::Ioctl = 0x125E;
/// `_IO(0x12, 104)`.
const BLKSSZGET: libc::Ioctl = 0x1268;
/// `_IOR(0x12, 114, size_t)`. The kernel writes a u64 all the same.
const BLKGETSIZE64: libc::Ioctl = 0x8008_1272;
/// `_IO(0x12, 127)`.
const BLKZEROOUT: libc::Ioctl = 0x127F;

/// Bytes that the device holds now.
///
/// # Errors
/// ENOTTY for what is no block device.
///
/// ```
/// # use coriolis_ovm_exporter::sys::block_device;
/// let file = std::fs::File::open("/proc/self/exe")?;
/// assert!(block_device::size(&file).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn size(device: &File) -> io::Result<u64> {
    let mut size: u64 = 0;
    // SAFETY: the descriptor is open while `device` is borrowed; the kernel writes one u64.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &raw mut size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(size)
}

/// Whether it takes no writes.
///
/// # Errors
/// ENOTTY for what is no block device.
pub fn is_read_only(device: &File) -> io::Result<bool> {
    Ok(ask(device, BLKROGET)? != 0)
}

/// Bytes of a logical sector: the device reads and writes nothing smaller.
///
/// # Errors
/// ENOTTY for what is no block device.
pub fn logical_sector(device: &File) -> io::Result<u64> {
    let sector = ask(device, BLKSSZGET)?;
    match u64::try_from(sector) {
        Ok(sector) if sector.is_power_of_two() => Ok(sector),
        _ => Err(io::Error::other(format!("a logical sector of {sector}"))),
    }
}

/// Bytes of a page of the cache through which devices are written.
#[must_use]
pub fn page() -> u64 {
    // SAFETY: the call takes a number and returns one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(page).unwrap_or(4096)
}

/// Makes whole logical sectors read as zeros: by a command of the device where it has one, else the
/// kernel writes them. The room stays reserved (the kernel asks for that). False where the kernel
/// does not know the call, which came with Linux 3.7.
///
/// The stretch leaves the page cache before that: others must not write to pages of which it
/// covers a part, since not every kernel keeps them from bringing back what was there.
///
/// # Errors
/// EINVAL for what are no whole sectors inside the device; EIO.
pub fn zero_out(device: &File, offset: u64, length: u64) -> io::Result<bool> {
    let range: [u64; 2] = [offset, length];
    loop {
        // SAFETY: the descriptor is open while `device` is borrowed; the kernel reads two u64.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), BLKZEROOUT, range.as_ptr()) };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Both questions that are asked this way have an int for an answer.
fn ask(device: &File, question: libc::Ioctl) -> io::Result<libc::c_int> {
    let mut answer: libc::c_int = 0;
    // SAFETY: the descriptor is open while `device` is borrowed; the kernel writes one int.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), question, &raw mut answer) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        let io = |number: u32| libc::Ioctl::from((0x12 << 8) | number);
        assert_eq!(BLKROGET, io(94));
        assert_eq!(BLKSSZGET, io(104));
        assert_eq!(BLKZEROOUT, io(127));
        assert_eq!(BLKGETSIZE64, io(114) | (2 << 30) | (8 << 16));
        assert!(page().is_power_of_two());
    }

    #[test]
    fn a_regular_file_is_no_device() {
        let file = tempfile::tempfile().unwrap();
        for error in [
            size(&file).unwrap_err(),
            is_read_only(&file).unwrap_err(),
            logical_sector(&file).unwrap_err(),
        ] {
            assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        }
        assert!(!zero_out(&file, 0, 512).unwrap());
    }
}
