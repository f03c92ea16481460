//! What a target says when something fails: which one, doing what, why, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What the bytes lie on; the same errno means another thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    File,
    Device,
}

/// What a run has relied on is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DoesNotHold(String);

/// What a write, a zeroing or a flush fails with where the target does not hold [what was relied
/// on](super::Target::rely_on). Nothing may have been written then.
#[must_use]
pub fn does_not_hold(reason: String) -> io::Error {
    io::Error::other(DoesNotHold(reason))
}

/// The reason in such an error.
pub(crate) fn why_it_does_not_hold(error: &io::Error) -> Option<String> {
    let found = error.get_ref()?.downcast_ref::<DoesNotHold>()?;
    Some(found.0.clone())
}

/// A kernel's error with everything around it.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot {deed}: {source}; {advice}")]
struct Failure {
    name: String,
    deed: String,
    source: io::Error,
    advice: &'static str,
}

/// The error of a call that the kernel refused. It keeps its kind; the cause is its source.
pub(super) fn refused(
    ground: Ground,
    name: &str,
    deed: impl Into<String>,
    source: io::Error,
) -> io::Error {
    io::Error::new(
        source.kind(),
        Failure {
            name: name.to_owned(),
            deed: deed.into(),
            advice: advice(ground, &source),
            source,
        },
    )
}

fn advice(ground: Ground, error: &io::Error) -> &'static str {
    let file = ground == Ground::File;
    match error.raw_os_error() {
        Some(libc::ENOSPC) if file => "make room on its file system, then run again",
        Some(libc::ENOSPC) => {
            "the storage below the device is full (a thin pool?): enlarge it, then run again"
        }
        Some(libc::EDQUOT) => "the quota of its owner is used up: raise it, then run again",
        Some(libc::EROFS) if file => {
            "its file system is read-only, perhaps after an error of its own (see the kernel's \
             log): mount it writable, then run again"
        }
        Some(libc::EROFS) => "the device is write-protected: take that away, then run again",
        // Block devices say so of a thin pool that is full, too.
        Some(libc::EIO) => {
            "the storage below has failed or is full (see the kernel's log): mend, enlarge or \
             replace it, then copy the disk in full"
        }
        Some(libc::EFBIG) => {
            "its file system, or this process's limit (ulimit -f), allows no file of that size: \
             use another one, or a block device"
        }
        Some(libc::EACCES) => "give the user of this process the right to read and write it",
        Some(libc::EPERM) if file => {
            "it may be immutable or for appending only (see lsattr): change that with chattr"
        }
        Some(libc::EPERM) => "it may have been set read-only (see blockdev --getro)",
        Some(libc::ETXTBSY) => "it is used as swap, or is a program that runs: name another target",
        Some(libc::ENXIO | libc::ENODEV | libc::ENOMEDIUM) => {
            "there is no device behind it: attach it, then run again"
        }
        Some(libc::ESTALE) => "its server has lost it: mount it again, then run again",
        Some(libc::ENOENT | libc::ENOTDIR) => "make the directory it is to lie in",
        Some(libc::ENOLCK) => {
            "without locks two runs could write it at once: use a file system that has them"
        }
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n)",
        _ => "nothing that was written since the last flush counts: run again",
    }
}

/// Somebody has what lies at this path.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct InUse {
    path: PathBuf,
    text: String,
}

/// What is refused since somebody has it: another run, or this one under another name.
pub(super) fn in_use(path: &Path, text: String) -> io::Error {
    let path = path.to_owned();
    io::Error::new(io::ErrorKind::ResourceBusy, InUse { path, text })
}

/// The path of what could not be opened for that reason.
pub(crate) fn path_in_use(error: &io::Error) -> Option<&Path> {
    let in_use: &InUse = error.get_ref()?.downcast_ref()?;
    Some(&in_use.path)
}

/// A range that does not lie inside of the first `limit` bytes.
pub(super) fn outside(name: &str, limit: u64, offset: u64, length: u64) -> io::Error {
    invalid(format!(
        "{name}: {length} bytes at {offset} do not lie inside of its {limit}; prepare it for the \
         size of the disk first"
    ))
}

pub(super) fn too_small(name: &str, size: u64, disk: u64) -> io::Error {
    invalid(format!(
        "{name}: it holds {size} bytes, the disk has {disk}; enlarge it, or name a larger target"
    ))
}

pub(super) fn unreadable(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{name}: it cannot be read, only written"),
    )
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_all_of_it_and_the_kind_stays() {
        let source = io::Error::from_raw_os_error(libc::ENOSPC);
        let error = refused(Ground::File, "/r/a.img", "write 512 bytes at 4096", source);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            error.to_string(),
            "/r/a.img: cannot write 512 bytes at 4096: No space left on device (os error 28); \
             make room on its file system, then run again"
        );
        let cause = error.get_ref().unwrap().source().unwrap();
        let cause: &io::Error = cause.downcast_ref().unwrap();
        assert_eq!(cause.raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn a_device_gets_other_advice_than_a_file() {
        for errno in [libc::ENOSPC, libc::EROFS, libc::EPERM] {
            let error = io::Error::from_raw_os_error(errno);
            assert_ne!(
                advice(Ground::File, &error),
                advice(Ground::Device, &error),
                "{error}"
            );
        }
        let other = advice(Ground::File, &io::Error::other("unknown"));
        for errno in [libc::ENOSPC, libc::EROFS, libc::EIO, libc::EFBIG] {
            let error = io::Error::from_raw_os_error(errno);
            assert_ne!(advice(Ground::File, &error), other, "{error}");
            assert_ne!(advice(Ground::Device, &error), other, "{error}");
        }
    }
}
