//! Storage that does not even let itself be read, as a cluster's may while a node of it is dead.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;

/// Whoever opens or reads this file or folder waits until this is dropped: the kernel asks for
/// permission (fanotify(7)), and nobody answers.
pub struct Silent(#[allow(dead_code)] OwnedFd);

impl Silent {
    pub fn new(path: &Path) -> Silent {
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
        // SAFETY: takes two numbers, gives a new descriptor or -1.
        let group = unsafe { libc::fanotify_init(flags, 0) };
        assert!(group >= 0, "fanotify_init: {}", io::Error::last_os_error());
        // SAFETY: it is open, and nobody else has it.
        let group = unsafe { OwnedFd::from_raw_fd(group) };
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let mask = libc::FAN_OPEN_PERM | libc::FAN_ACCESS_PERM | libc::FAN_ONDIR;
        // SAFETY: the descriptor is open, the path ends with a zero.
        let marked = unsafe {
            libc::fanotify_mark(
                group.as_raw_fd(),
                libc::FAN_MARK_ADD,
                mask,
                libc::AT_FDCWD,
                name.as_ptr(),
            )
        };
        assert_eq!(marked, 0, "fanotify_mark: {}", io::Error::last_os_error());
        Silent(group)
    }
}
