//! Whether a sealed file's extents can move while its map is read.
//!
//! On XFS and OCFS2 an immutable file is not defragmented, not deduplicated onto, and not moved by
//! `xfs_fsr`. XFS looks at the flag when a file is opened, though: whoever had it open for writing
//! before it was sealed can still have its extents exchanged (`XFS_IOC_SWAPEXT` does, on Linux 6.18).
//! So nobody may have. btrfs moves what is immutable: nothing is ever still there.

use std::os::unix::fs::MetadataExt;

use crate::sys::file_system::{self, Kind};
use crate::sys::uncached::UncachedFile;
use crate::sys::{attributes, occupied};

/// That nothing can move a file's extents, and since when: whoever clears the immutable flag changes
/// that time, also where the flag is set again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stillness {
    since: (i64, i64),
}

/// None where its extents may move, as far as can be told. Found before and after a reading, and
/// the same, it says that the reading saw one state of the map.
#[must_use]
pub fn of(file: &UncachedFile) -> Option<Stillness> {
    let file = file.file();
    // First: whoever clears the flag after this changes it, whoever did before is seen below.
    let metadata = file.metadata().ok()?;
    if !attributes::is_immutable(file) {
        return None;
    }
    let refused = match file_system::status(file).ok()?.kind {
        // Since the flag is set nobody can have come.
        Kind::Xfs => !occupied::is_written_to(file).ok()?,
        // Looks at the flag at each call that moves; a call of another node that saw it cleared changes
        // that time.
        Kind::Ocfs2 => true,
        _ => false,
    };
    if !refused {
        return None;
    }
    Some(Stillness {
        since: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
