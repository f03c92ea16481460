//! `flock(2)`: the one lock that OCFS2 carries across nodes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// An exclusive lock on an open file; let go when this is dropped.
#[derive(Debug)]
pub struct Flock(File);

impl Flock {
    /// Takes the lock if nobody holds it. None where somebody does.
    ///
    /// On a cluster file system with a dead peer this can block until the peer is evicted:
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// The kernel's, such as ENOLCK.
    pub fn try_exclusive(file: File) -> io::Result<Option<Flock>> {
        // SAFETY: the descriptor is open: `file` is owned here.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(Flock(file)));
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::WouldBlock {
            return Ok(None);
        }
        Err(error)
    }

    /// The file that is locked.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Flock {
    fn drop(&mut self) {
        // Closing would let go too, unless a child process has inherited the description.
        // SAFETY: the descriptor is open until `self.0` is dropped after this.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_waits_for_the_first_to_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let held = Flock::try_exclusive(open()).unwrap().unwrap();
        assert!(Flock::try_exclusive(open()).unwrap().is_none());
        drop(held);
        assert!(Flock::try_exclusive(open()).unwrap().is_some());
    }
}
