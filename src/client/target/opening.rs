use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;
use std::sync::Arc;

use super::failure::{Ground, invalid, refused};
use super::{BlockDevice, RawFile, Target};

/// What its owner says of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetOptions {
    /// A block device holds zeros only: it was just made. To be said for the very first run alone;
    /// one that broke off has written to it. A device that has something else in the samples that
    /// are read is not believed to be. Not needed for a file: whether it is empty is seen.
    pub declared_zeroed: bool,
    /// Zeros on a block device give their room back to the storage below, where the device promises
    /// that they read as zeros all the same. Else the room stays reserved.
    pub discard: bool,
}

/// Opens what lies at a path: a block device, a regular file, or a symbolic link to either. Where
/// nothing does, a file is created.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for everything else (a directory, a pipe, …);
/// [`io::ErrorKind::ResourceBusy`] for what is in use; what [`RawFile::open`] and
/// [`BlockDevice::open`] find.
pub fn open(path: &Path, options: &TargetOptions) -> io::Result<Arc<dyn Target>> {
    Ok(match Found::at(path)? {
        Found::Device => Arc::new(BlockDevice::open(path, options)?),
        Found::File | Found::Nothing => Arc::new(RawFile::open(path)?),
    })
}

/// What lies at a path. It is looked at before it is opened: opening alone makes some devices do
/// something (a tape rewinds, a watchdog starts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File,
    Device,
}

impl Found {
    /// # Errors
    /// Where no target can be there.
    pub(super) fn at(path: &Path) -> io::Result<Found> {
        let name = path.display();
        let kind = match fs::metadata(path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return may_be_created(path).map(|()| Found::Nothing);
            }
            Err(error) => {
                let name = name.to_string();
                return Err(refused(Ground::File, &name, "look at it", error));
            }
        };
        let other = if kind.is_file() {
            return Ok(Found::File);
        } else if kind.is_block_device() {
            return Ok(Found::Device);
        } else if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_char_device() {
            "a character device"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "neither of these"
        };
        Err(invalid(format!(
            "{name}: a replica goes to a regular file or a block device, and this is {other}; \
             name another target"
        )))
    }
}

fn may_be_created(path: &Path) -> io::Result<()> {
    let name = path.display();
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name}: this symbolic link leads nowhere; attach or make what it should"),
        ));
    }
    let folder = std::path::absolute(path)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    // A file there would fill the memory, and be gone after the next start.
    if folder.starts_with("/dev") && !folder.starts_with("/dev/shm") {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name}: there is no such device; attach it, then run again"),
        ));
    }
    Ok(())
}

/// Bytes of zeros that are written at once.
const ZEROS: u64 = 1 << 20;

pub(super) fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(length.min(ZEROS)).unwrap_or(0)];
    let mut done = 0;
    while done < length {
        let count = (length - done).min(ZEROS);
        let count_here = usize::try_from(count).unwrap_or(0);
        file.write_all_at(&zeros[..count_here], offset + done)?;
        done += count;
    }
    Ok(())
}
