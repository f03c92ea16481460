//! Reading a file that its owner rewrites at any moment.
//!
//! The agent writes page after page, so a reader may meet half of a rewrite. A reading counts
//! when the file did not change while it was read, had come to rest before ([`SETTLE`]), and
//! parses without damage. Otherwise it is read again a few times.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{FormatError, HashFile};

/// Largest file that is read, in bytes. An agent's table has some tens of KiB.
pub const MAX_FILE: u64 = 64 << 20;
/// Readings before giving up.
const ATTEMPTS: u32 = 6;
/// Rest between two readings.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a file must have been left alone to count as at rest. Two page writes of one rewrite
/// lie closer together, and time stamps are only as fine as the kernel's tick (up to 10 ms).
const SETTLE: Duration = Duration::from_millis(100);

/// Why a database file could not be read.
#[derive(Debug, Error)]
pub enum BerkeleyDbError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A pipe, folder or device stands where the file should be.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Larger than [`MAX_FILE`].
    #[error("{} has {size} bytes, more than the {MAX_FILE} that are read", path.display())]
    TooBig {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Every reading met a change.
    #[error("{} changed during each of {ATTEMPTS} readings: try again later", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// The content is no hash file that can be read.
    #[error("{} cannot be understood: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
}

/// Reads a hash file while its owner may be rewriting it. Takes no lock, writes nothing. Blocks:
/// normally for the read alone, when the file keeps changing for up to about a second.
///
/// A file that stays damaged is handed out with [`HashFile::damage`] filled.
///
/// # Errors
/// When the file is missing, not regular, larger than [`MAX_FILE`], changes during every attempt,
/// or is no readable hash file.
pub fn read(path: &Path) -> Result<HashFile, BerkeleyDbError> {
    read_pausing(path, &mut thread::sleep)
}

/// [`read`] with the pauses handed in, so that a test can act during one.
pub(super) fn read_pausing(
    path: &Path,
    pause: &mut dyn FnMut(Duration),
) -> Result<HashFile, BerkeleyDbError> {
    let mut last = Err(BerkeleyDbError::Changing {
        path: path.to_owned(),
    });
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            pause(PAUSE);
        }
        last = match read_once(path, pause) {
            Ok(Some(bytes)) => HashFile::parse(&bytes).map_err(|source| BerkeleyDbError::Format {
                path: path.to_owned(),
                source,
            }),
            Ok(None) => Err(BerkeleyDbError::Changing {
                path: path.to_owned(),
            }),
            // A file that is being replaced is missing for a moment.
            Err(error) if is_missing(&error) => Err(error),
            Err(error) => return Err(error),
        };
        match &last {
            Ok(file) if file.damage.is_empty() => break,
            // A folder that is not there is no rewrite in progress.
            Err(error) if is_missing(error) && attempt > 0 => break,
            _ => {}
        }
    }
    last
}

/// The bytes of the file, or `None` when it changed meanwhile.
fn read_once(
    path: &Path,
    pause: &mut dyn FnMut(Duration),
) -> Result<Option<Vec<u8>>, BerkeleyDbError> {
    let failed = |source| BerkeleyDbError::Io {
        path: path.to_owned(),
        source,
    };
    let before = fs::metadata(path).map_err(failed)?;
    check(path, &before)?;
    // Should a pipe take the file's place just now, opening and reading it must not wait.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?)?;
    let bytes = content(&file).map_err(failed)?;
    let now = SystemTime::now();
    let unchanged = || {
        fs::metadata(path)
            .map(|after| Stamp::of(&after) == Stamp::of(&before))
            .map_err(failed)
    };
    if !unchanged()? {
        return Ok(None);
    }
    let rested = before
        .modified()
        .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age >= SETTLE));
    if !rested {
        pause(SETTLE);
        if !unchanged()? {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

fn check(path: &Path, metadata: &fs::Metadata) -> Result<(), BerkeleyDbError> {
    if !metadata.is_file() {
        return Err(BerkeleyDbError::NotRegular {
            path: path.to_owned(),
        });
    }
    if metadata.len() > MAX_FILE {
        return Err(BerkeleyDbError::TooBig {
            path: path.to_owned(),
            size: metadata.len(),
        });
    }
    Ok(())
}

/// At most one byte more than the limit: a file that grows meanwhile has changed anyway.
fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_missing(error: &BerkeleyDbError) -> bool {
    matches!(error, BerkeleyDbError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// What shows that a file is the same one, unchanged.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
