//! Sealing: what makes a clone a snapshot that can be trusted later.
//!
//! Written out, immutable, and its identity recorded. On XFS and OCFS2 an immutable file cannot be
//! defragmented, deduplicated onto or moved; a btrfs balance moves it all the same, which a
//! comparison finds out for itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::SnapshotError;
use super::manifest::Identity;
use crate::sys::attributes::{self, IMMUTABLE};
use crate::sys::{extent_count, file_system, identity};

/// What sealing a clone told.
#[derive(Debug)]
pub struct Sealed {
    /// What to hold the file to from now on.
    pub identity: Identity,
    /// Extents at this moment.
    pub extents: u64,
    /// Why the immutable flag is not set, where it is not.
    pub unsealed: Option<String>,
}

/// Writes a clone out and seals it. With `immutable` unset the flag is left out, on request.
///
/// # Errors
/// The file system's. That the flag cannot be set is no error.
pub fn seal(clone: &File, path: &Path, immutable: bool) -> Result<Sealed, SnapshotError> {
    write_out(clone, path)?;
    mark(clone, path, immutable)
}

/// Makes a clone durable.
///
/// # Errors
/// The file system's.
pub fn write_out(clone: &File, path: &Path) -> Result<(), SnapshotError> {
    clone
        .sync_all()
        .map_err(SnapshotError::io("cannot write out", path))
}

/// Seals a clone that is written out later, before anybody is told of it.
///
/// # Errors
/// As [`seal`].
pub fn mark(clone: &File, path: &Path, immutable: bool) -> Result<Sealed, SnapshotError> {
    let unsealed = if immutable {
        attributes::set(clone, IMMUTABLE, true)
            .err()
            .map(|error| format!("the immutable flag cannot be set: {error}"))
    } else {
        Some("[snapshots] immutable = false".to_owned())
    };
    Ok(Sealed {
        identity: identify(clone).map_err(SnapshotError::io("cannot identify", path))?,
        extents: extent_count::of(clone)
            .map_err(SnapshotError::io("cannot count the extents of", path))?,
        unsealed,
    })
}

/// Clears the immutable flag so that the file can be removed.
///
/// # Errors
/// The file system's. A file system without the flag is fine.
pub fn unseal(file: &File) -> io::Result<()> {
    if attributes::is_immutable(file) {
        attributes::set(file, IMMUTABLE, false)?;
    }
    Ok(())
}

/// Which file this is.
///
/// # Errors
/// The file system's; [`io::ErrorKind::Unsupported`] on one that tells no UUID.
pub fn identify(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok(Identity {
        file_system: file_system::uuid(file)?,
        handle: identity::file_handle(file)?,
        size: metadata.len(),
        modified: format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// What tells `found` from what was `sealed`, in words; None where they are one file.
#[must_use]
pub fn difference(sealed: &Identity, found: &Identity) -> Option<String> {
    if sealed.file_system != found.file_system {
        return Some(format!(
            "it lies on file system {}, sealed on {}",
            found.file_system, sealed.file_system
        ));
    }
    if sealed.handle != found.handle {
        return Some("another file has taken its name".to_owned());
    }
    if sealed.size != found.size {
        return Some(format!(
            "it has {} bytes, sealed with {}",
            found.size, sealed.size
        ));
    }
    if sealed.modified != found.modified {
        return Some(format!(
            "it was written to at {}, sealed at {}",
            found.modified, sealed.modified
        ));
    }
    None
}
