//! Whether somebody else works on a file: writes to it, or shows it as a block device.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of `asm-generic/fcntl.h`; the same on x86.
const F_SETSIG: libc::c_int = 10;
/// Access modes in the flags of an open file.
const O_ACCMODE: u32 = 0o3;

/// Whether any process of this node has the file open, or mapped, for writing. `file` itself must
/// be open for reading alone. What other nodes of a cluster do is not seen.
///
/// # Errors
/// The kernel's.
pub fn is_written_to(file: &File) -> io::Result<bool> {
    match is_written_to_by_lease(file) {
        Some(written_to) => Ok(written_to),
        None => is_open_for_writing(&file.metadata()?),
    }
}

/// A read lease is given only where nobody can write. None where the file system has no leases.
fn is_written_to_by_lease(file: &File) -> Option<bool> {
    let descriptor = file.as_raw_fd();
    // Whoever opens the file for writing in the moment that the lease is held makes the kernel
    // send a signal: one that is ignored unless somebody asks for it, instead of the deadly SIGIO.
    // SAFETY: the descriptor is open while `file` is borrowed; all three calls take integers.
    unsafe {
        if libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) < 0 {
            return None;
        }
        if libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) < 0 {
            let error = io::Error::last_os_error();
            return (error.raw_os_error() == Some(libc::EAGAIN)).then_some(true);
        }
        libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
    }
    Some(false)
}

/// Looks through the open files of all processes. A process that ends meanwhile is passed over.
fn is_open_for_writing(wanted: &fs::Metadata) -> io::Result<bool> {
    for process in fs::read_dir("/proc")?.flatten() {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(found) = fs::metadata(descriptor.path()) else {
                continue;
            };
            if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino())
                && can_write(&process.path(), &descriptor.file_name())
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn can_write(process: &Path, descriptor: &std::ffi::OsStr) -> bool {
    let Ok(text) = fs::read_to_string(process.join("fdinfo").join(descriptor)) else {
        return false;
    };
    text.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & O_ACCMODE != 0)
}

/// The loop device that shows this file, such as `/dev/loop0`, if one does.
///
/// # Errors
/// The kernel's.
pub fn loop_device(file: &File) -> io::Result<Option<String>> {
    let wanted = file.metadata()?;
    let devices = match fs::read_dir("/sys/block") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    for device in devices.flatten() {
        let Ok(backing) = fs::read_to_string(device.path().join("loop/backing_file")) else {
            continue;
        };
        let found = fs::metadata(backing.trim_end_matches('\n'));
        if found.is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino())) {
            return Ok(Some(format!(
                "/dev/{}",
                device.file_name().to_string_lossy()
            )));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_while_it_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        fs::write(&path, "x").unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!is_written_to(&reader).unwrap());
        assert!(!is_open_for_writing(&reader.metadata().unwrap()).unwrap());
        let writer = File::options().append(true).open(&path).unwrap();
        assert!(is_written_to(&reader).unwrap());
        assert!(is_open_for_writing(&reader.metadata().unwrap()).unwrap());
        drop(writer);
        let second_reader = File::open(&path).unwrap();
        assert!(!is_written_to(&reader).unwrap());
        assert!(!is_open_for_writing(&second_reader.metadata().unwrap()).unwrap());
    }
}
