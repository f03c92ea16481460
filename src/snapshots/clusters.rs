//! What OCFS2's own reflink gets wrong: disks that must not be cloned with it, and clones that must
//! not be removed.
//!
//! `OCFS2_IOC_REFLINK` gives the clone the *number* of clusters that the disk has, and of its
//! *extents* only those that begin before the end of the file (`ocfs2_complete_reflink` and
//! `ocfs2_duplicate_extent_list` in `fs/ocfs2/refcounttree.c`, unchanged since Linux 2.6.32). Of a
//! disk with space allocated past its end the clone counts clusters that it has not got. When it is
//! removed, the kernel takes extents away until the count is 0, finds none left before that, says
//! "Inode … has empty extent block", and makes the whole file system read-only, under every guest on
//! it; the clone is an orphan then, and the next mount fails at it again. A clone of such a clone
//! has the same count. `FICLONE` counts what it clones and is without that flaw.
//!
//! Only `fsck.ocfs2` sets a count right. Shortening the file does not: count and extents lose the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::snapshot::Snapshot;
use crate::sys::file_system::{self, Kind};
use crate::sys::reflink::CloneCall;
use crate::sys::{allocation, ocfs2_inode};

/// So often a file that changes meanwhile is counted again.
const ATTEMPTS: usize = 3;

/// An inode that counts more clusters, or fewer, than its extents have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miscount {
    /// Bytes, by the inode's count.
    pub counted: u64,
    /// Bytes, by the extents.
    pub mapped: u64,
}

impl std::fmt::Display for Miscount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Miscount { counted, mapped } = self;
        write!(
            f,
            "its inode counts {counted} bytes of clusters and its extents hold {mapped}"
        )
    }
}

/// Why a disk must not be cloned with that call: in words, with what to do. None where it may be.
/// Quick: looks at the map behind the disk's end only.
///
/// # Errors
/// The file system's.
pub fn obstacle(disk: &File, path: &Path, call: CloneCall) -> io::Result<Option<String>> {
    if call != CloneCall::Ocfs2Reflink {
        return Ok(None);
    }
    let bytes = allocation::past_end(disk)?;
    let path = path.display();
    Ok((bytes > 0).then(|| {
        format!(
            "{path} has {bytes} bytes allocated past its end. Only OCFS2's own reflink works here, and \
             gives the clone of such a disk a wrong count of clusters: to delete that snapshot \
             would make the file system read-only. Give the space back, which changes none of the \
             disk's bytes: truncate -s +0 '{path}'"
        )
    }))
}

/// The same, and whether the disk's own count is right: a clone inherits it. Goes through the map.
///
/// # Errors
/// The file system's.
pub(super) fn obstacle_in_all(
    disk: &File,
    path: &Path,
    call: CloneCall,
) -> io::Result<Option<String>> {
    if let Some(reason) = obstacle(disk, path, call)? {
        return Ok(Some(reason));
    }
    if call != CloneCall::Ocfs2Reflink {
        return Ok(None);
    }
    let path = path.display();
    Ok(miscount(disk)?.map(|miscount| {
        format!(
            "{path} is damaged: {miscount}. A clone of it would inherit that, and to delete that \
             snapshot, or this disk, would make the file system read-only. {CURE}"
        )
    }))
}

/// What helps.
pub(super) const CURE: &str = "Unmount the file system on every node of the pool and run fsck.ocfs2 -f \
    on its device, which sets the count right; until then do not remove the file by hand";

/// Which files of a snapshot keep it from being deleted, in words. What cannot be read is another's
/// matter.
#[must_use]
pub fn damaged(snapshot: &Snapshot) -> Vec<String> {
    let paths = snapshot.manifest.disks.iter();
    paths
        .filter_map(|disk| snapshot.path(disk))
        .filter_map(|path| {
            let miscount = miscount(&File::open(&path).ok()?).ok()??;
            Some(format!("{}: {miscount}", path.display()))
        })
        .collect()
}

/// Whether an OCFS2 file's count of clusters is wrong. None where it is right, on other file systems,
/// and where it cannot be told: the device cannot be read here, or the file keeps changing.
///
/// # Errors
/// The file system's.
pub fn miscount(file: &File) -> io::Result<Option<Miscount>> {
    if file_system::status(file)?.kind != Kind::Ocfs2 {
        return Ok(None);
    }
    let cluster = file.metadata()?.blksize();
    let counted = || match ocfs2_inode::clusters(file) {
        Ok(clusters) => Ok(Some(u64::from(clusters) * cluster)),
        Err(error) => {
            tracing::warn!(
                "whether the count of clusters is right cannot be seen: {error}. The device that is \
                 mounted must be readable here; until then a damaged file is not noticed"
            );
            Ok(None)
        }
    };
    settled(counted, || allocation::in_all(file))
}

/// The difference, where two countings agree on it and nothing was counted otherwise in between.
fn settled(
    counted: impl Fn() -> io::Result<Option<u64>>,
    mapped: impl Fn() -> io::Result<u64>,
) -> io::Result<Option<Miscount>> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let Some(before) = counted()? else {
            return Ok(None);
        };
        let mapped = mapped()?;
        if before == mapped {
            return Ok(None);
        }
        let found = Miscount {
            counted: before,
            mapped,
        };
        if counted()? == Some(before) && last.replace(found) == Some(found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What comes out where these are counted one after the other: by the inode, by the map.
    fn of(counted: &[u64], mapped: &[u64]) -> Option<Miscount> {
        let (inode, map) = (Cell::new(0), Cell::new(0));
        let next = |at: &Cell<usize>, list: &[u64]| {
            let value = list[at.get().min(list.len() - 1)];
            at.set(at.get() + 1);
            value
        };
        settled(
            || Ok(Some(next(&inode, counted))),
            || Ok(next(&map, mapped)),
        )
        .unwrap()
    }

    #[test]
    fn a_file_that_is_written_to_is_not_taken_for_damaged() {
        assert_eq!(of(&[10], &[10]), None);
        let wrong = Some(Miscount {
            counted: 12,
            mapped: 10,
        });
        assert_eq!(of(&[12], &[10]), wrong);
        // A cluster was added after the count, before the map was read.
        assert_eq!(of(&[10, 11, 11], &[11]), None);
        assert_eq!(of(&[10, 11, 12, 13, 14, 15], &[11, 13, 15]), None);
        // A damaged one, to which a cluster is added.
        assert_eq!(
            of(&[12, 13, 13], &[11, 11, 11]),
            Some(Miscount {
                counted: 13,
                mapped: 11
            })
        );
        assert_eq!(settled(|| Ok(None), || Ok(1)).unwrap(), None);
    }

    #[test]
    fn other_calls_and_file_systems_are_not_meant() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        std::fs::write(&path, [7; 9000]).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(obstacle(&file, &path, CloneCall::Ficlone).unwrap(), None);
        assert_eq!(miscount(&file).unwrap(), None);
    }
}
