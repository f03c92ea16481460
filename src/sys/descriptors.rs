//! How many descriptors this process may have, and what it was started with open.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, RawFd};

/// The soft limit, `RLIMIT_NOFILE`, now. It can be changed from outside at any time (`prlimit`).
///
/// ```
/// assert!(coriolis_ovm_exporter::sys::descriptors::limit() > 2);
/// ```
#[must_use]
pub fn limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes into the structure, which lives until it has returned.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    // It fails only for a bad address or resource. RLIM_INFINITY is the largest number.
    if result == 0 { limit.rlim_cur } else { 1024 }
}

/// Another descriptor of what is open under this number: also where its name (`/dev/fd/3`) could not be
/// opened, since it belongs to another user.
///
/// # Errors
/// The kernel's: `EBADF` where nothing is open under it.
pub fn duplicate(number: RawFd) -> io::Result<File> {
    // SAFETY: the call takes no address, and fails for a number that is no descriptor.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is a new descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(copy) })
}
