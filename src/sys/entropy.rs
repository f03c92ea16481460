//! How sure of its random numbers the kernel is (random(4)).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `RNDGETENTCNT`, `_IOR('R', 0, int)`.
const RNDGETENTCNT: libc::Ioctl = 0x8004_5200;

/// Whether there is `getrandom(2)`: since Linux 3.17. It waits by itself, right after a boot.
#[must_use]
pub fn has_getrandom() -> bool {
    let nothing: *mut u8 = std::ptr::null_mut();
    // SAFETY: no byte is asked for, so the kernel writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_getrandom, nothing, 0_usize, libc::GRND_NONBLOCK) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// The kernel's estimate of the entropy in its pool, in bits. On kernels of old, whoever starts a
/// program takes some of it.
///
/// # Errors
/// Where `/dev/urandom` cannot be opened or does not tell.
///
/// ```
/// assert!(coriolis_ovm_exporter::sys::entropy::bits()? <= 4096);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn bits() -> io::Result<u32> {
    let device = File::open("/dev/urandom")?;
    let mut bits: libc::c_int = 0;
    // SAFETY: the descriptor is open while `device` lives; the kernel writes one int.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), RNDGETENTCNT, &raw mut bits) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_kernels() {
        let encoded = (2 << 30) | (4 << 16) | (u32::from(b'R') << 8);
        assert_eq!(RNDGETENTCNT, libc::Ioctl::from(encoded));
    }

    #[test]
    fn a_kernel_of_today_has_getrandom() {
        assert!(has_getrandom());
    }
}
