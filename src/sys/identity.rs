//! Which file this is, over remounts and across nodes: its file handle.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `MAX_HANDLE_SZ` of the kernel.
const MAX_HANDLE: usize = 128;

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; MAX_HANDLE],
}

/// The file handle of an open file as `type:hex`, from `name_to_handle_at(2)`.
///
/// It holds the inode number and its generation (on btrfs the subvolume too), so a file that
/// was replaced under its name, even one that got the old inode number, has another handle.
///
/// # Errors
/// EOPNOTSUPP where the file system has no handles.
pub fn file_handle(file: &File) -> io::Result<String> {
    let mut raw = RawHandle {
        bytes: 128,
        kind: 0,
        handle: [0; MAX_HANDLE],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: the descriptor is open while `file` is borrowed, the path is an empty C string
    // (AT_EMPTY_PATH: the descriptor itself), and `raw` has room for the 128 handle bytes that
    // its first field promises. The kernel writes those and `mount`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            c"".as_ptr(),
            &raw mut raw,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = usize::try_from(raw.bytes).unwrap_or(0).min(MAX_HANDLE);
    let mut text = format!("{}:", raw.kind);
    for byte in &raw.handle[..length] {
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}
