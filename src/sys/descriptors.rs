//! How many descriptors this process may have.
#![allow(unsafe_code)]

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
