//! What the kernel keeps of a file in memory.

use std::fs::File;
use std::io;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Lets go of what is kept of a file, or block device, and is written out: what is read next comes
/// from storage. After a write that storage has refused (EIO), Linux keeps the bytes as if it had
/// not, and a reader sees what is not there.
///
/// # Errors
/// The kernel's, for what has no pages (a pipe).
///
/// ```
/// let file = tempfile::tempfile()?;
/// coriolis_ovm_exporter::sys::page_cache::drop_clean(&file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn drop_clean(file: &File) -> io::Result<()> {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(Into::into)
}
