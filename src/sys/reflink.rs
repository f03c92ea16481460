//! Cloning a file by reflink: `FICLONE`, and OCFS2's own call on kernels where that is all there is.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::attributes;

/// `_IOW(0x94, 9, int)`, `include/uapi/linux/fs.h`.
const FICLONE: libc::Ioctl = 0x4004_9409;
/// `_IOW('o', 4, struct reflink_arguments)`, `fs/ocfs2/ocfs2_ioctl.h`.
const OCFS2_IOC_REFLINK: libc::Ioctl = 0x4018_6F04;

/// `struct reflink_arguments`: addresses of two NUL-terminated paths.
#[repr(C)]
struct ReflinkArguments {
    old_path: u64,
    new_path: u64,
    preserve: u64,
}

/// Which of the kernel's calls clones files on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneCall {
    /// XFS, btrfs, and OCFS2 since Linux 4.10.
    Ficlone,
    /// OCFS2 since 2.6.32.
    Ocfs2Reflink,
}

/// A clone that has been made ready: all that can be done before the disk is held.
#[derive(Debug)]
pub struct ReadyClone<'s> {
    source: &'s File,
    target: PathBuf,
    ready: Ready,
}

#[derive(Debug)]
enum Ready {
    /// FICLONE fills an empty file that exists.
    Ficlone(File),
    /// The OCFS2 call takes paths and makes the target itself.
    Ocfs2Reflink { old: CString, new: CString },
}

/// Prepares to clone `source`, which was opened at `source_path`, to `target`, which must not
/// exist. Nothing but an empty target is made; it is gone again when this fails.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where there is a target; the file system's errors.
pub fn prepare<'s>(
    call: CloneCall,
    source: &'s File,
    source_path: &Path,
    target: &Path,
) -> io::Result<ReadyClone<'s>> {
    let ready = match call {
        CloneCall::Ficlone => {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(target)?;
            // btrfs clones only between files that agree on copy-on-write, and the setting can
            // be changed only while the file is empty.
            if attributes::get(source).is_ok_and(|bits| bits & attributes::NOCOW != 0)
                && let Err(error) = attributes::set(&file, attributes::NOCOW, true)
            {
                let _ = std::fs::remove_file(target);
                return Err(error);
            }
            Ready::Ficlone(file)
        }
        CloneCall::Ocfs2Reflink => {
            // The call does not follow a final symbolic link: it would clone the link.
            let resolved = std::fs::canonicalize(source_path)?;
            Ready::Ocfs2Reflink {
                old: CString::new(resolved.as_os_str().as_bytes())?,
                new: CString::new(target.as_os_str().as_bytes())?,
            }
        }
    };
    Ok(ReadyClone {
        source,
        target: target.to_owned(),
        ready,
    })
}

/// A clone that was made, and not looked at yet.
#[derive(Debug)]
pub struct Cloned<'s> {
    source: &'s File,
    target: PathBuf,
    /// Where it was open before it was made.
    file: Option<File>,
    held: Duration,
}

impl<'s> ReadyClone<'s> {
    /// Clones: nothing but the kernel's call. Where it fails, no target is left.
    ///
    /// # Errors
    /// The kernel's: ENOTTY, EOPNOTSUPP, EINVAL where this is the wrong call for the file system,
    /// EXDEV across file systems, EROFS, ENOSPC.
    pub fn run(self) -> io::Result<Cloned<'s>> {
        let made_empty_target = matches!(self.ready, Ready::Ficlone(_));
        let begun = Instant::now();
        let result = call(self.ready, self.source);
        let held = begun.elapsed();
        match result {
            Ok(file) => Ok(Cloned {
                source: self.source,
                target: self.target,
                file,
                held,
            }),
            Err(error) => {
                // The OCFS2 call answers EEXIST for a file that is not ours.
                if made_empty_target || error.kind() != io::ErrorKind::AlreadyExists {
                    let _ = std::fs::remove_file(&self.target);
                }
                Err(error)
            }
        }
    }
}

/// The call itself. The clone, where it was open before.
fn call(ready: Ready, source: &File) -> io::Result<Option<File>> {
    match ready {
        Ready::Ficlone(file) => {
            // SAFETY: both descriptors are open for as long as the two files live; FICLONE
            // takes the source's number by value and touches no memory of ours.
            let result = unsafe { libc::ioctl(file.as_raw_fd(), FICLONE, source.as_raw_fd()) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Some(file))
        }
        Ready::Ocfs2Reflink { old, new } => {
            let arguments = ReflinkArguments {
                old_path: old.as_ptr().expose_provenance() as u64,
                new_path: new.as_ptr().expose_provenance() as u64,
                preserve: 0,
            };
            // SAFETY: the descriptor is open; the structure and the two C strings whose
            // addresses it holds outlive the call, and the kernel only reads them.
            let result =
                unsafe { libc::ioctl(source.as_raw_fd(), OCFS2_IOC_REFLINK, &raw const arguments) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(None)
        }
    }
}

impl Cloned<'_> {
    /// The clone, open for reading and writing, and how long the kernel held the source. Where it
    /// fails, no target is left.
    ///
    /// # Errors
    /// The file system's; any kind where the clone is not one of the source.
    pub fn open(self) -> io::Result<(File, Duration)> {
        let (target, held) = (self.target.clone(), self.held);
        self.file()
            .map(|file| (file, held))
            .inspect_err(|_| drop(std::fs::remove_file(target)))
    }

    fn file(self) -> io::Result<File> {
        if let Some(file) = self.file {
            return Ok(file);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.target)?;
        // The call went by path: see that it cloned the file that is open here.
        if file.metadata()?.dev() != self.source.metadata()?.dev() {
            return Err(io::Error::other("the clone lies on another file system"));
        }
        Ok(file)
    }
}

/// True for an answer that means "not by this call", so that the other one may be tried.
#[must_use]
pub fn is_wrong_call(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_clone_leaves_no_target() {
        // /dev/shm is tmpfs, which cannot clone.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, b"disk").unwrap();
        let source = File::open(&path).unwrap();
        for call in [CloneCall::Ficlone, CloneCall::Ocfs2Reflink] {
            let target = dir.path().join("clone.img");
            let error = prepare(call, &source, &path, &target)
                .unwrap()
                .run()
                .unwrap_err();
            assert!(is_wrong_call(&error), "{call:?}: {error}");
            assert!(!target.exists());
        }
    }

    #[test]
    fn an_existing_target_is_not_touched() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, b"disk").unwrap();
        let source = File::open(&path).unwrap();
        let error = prepare(CloneCall::Ficlone, &source, &path, &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"disk");
    }
}
