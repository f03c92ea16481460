//! `setrlimit(2)`, `RLIMIT_FSIZE`: how large the files of a process may become.
#![allow(unsafe_code)]

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

/// Has a write behind the limit fail with `EFBIG`, which can be told, instead of ending the process with
/// SIGXFSZ. So it is for programs that this one starts.
///
/// # Errors
/// The kernel's; none is known.
pub fn tell_of_limit() -> io::Result<()> {
    // SAFETY: no handler is installed: the kernel drops the signal. Nothing of this process waits for it.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}
