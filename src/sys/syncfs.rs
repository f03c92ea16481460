//! Writing out a whole file system, with what it has put off.

use std::fs::File;
use std::io;

use nix::unistd;

/// Has the file system that holds `file` write out everything, its own bookkeeping included. OCFS2
/// gives back the clusters of deleted files then, which `statfs(2)` counts as used until it does.
/// `syncfs(2)` is of Linux 2.6.39. Waits for the storage, and in a pool for the other nodes' locks.
///
/// # Errors
/// The kernel's.
pub fn write_out(file: &File) -> io::Result<()> {
    Ok(unistd::syncfs(file)?)
}
