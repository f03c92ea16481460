//! Reading what is in the page cache, and nothing else, without ever waiting for a device.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `RWF_NOWAIT` of `linux/fs.h` (4.14): answer EAGAIN instead of waiting.
const RWF_NOWAIT: libc::c_int = 0x8;

/// Reads into the front of `buffer` what is cached at `offset`: how many bytes that were.
///
/// A page that is not cached may be asked of the device by newer kernels, so look first.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where the first byte is not there; EOPNOTSUPP where the file
/// system cannot tell, ENOSYS where the kernel is older than 4.6.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    let part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // By its number: the C library of an old node has no such function. The high half of the offset
    // counts on 32 bits only.
    // SAFETY: the descriptor is open, and `part` is one exclusive borrow for the time of the call.
    let count = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.as_raw_fd(),
            &raw const part,
            1,
            offset,
            offset >> 32,
            RWF_NOWAIT,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Whether an error of [`read_cached`] means that it never works on this file.
#[must_use]
pub fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_the_kernels() {
        assert_eq!(RWF_NOWAIT, libc::RWF_NOWAIT);
    }

    #[test]
    fn what_is_cached_is_read_and_the_end_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let mut buffer = vec![0; 200_000];
        match read_cached(&file, &mut buffer, 100_000) {
            Ok(count) => {
                assert!(count > 0);
                assert_eq!(buffer[..count], bytes[100_000..100_000 + count]);
                assert_eq!(read_cached(&file, &mut buffer, 300_000).unwrap(), 0);
            }
            Err(error) => assert!(is_unsupported(&error), "{error}"),
        }
        assert!(is_unsupported(&io::Error::from_raw_os_error(libc::ENOSYS)));
        assert!(!is_unsupported(&io::Error::from_raw_os_error(libc::EAGAIN)));
    }
}
