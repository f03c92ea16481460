//! How much a file has allocated, by its extent map: past its end, and in all.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::fiemap::ExtentReader;
use crate::extents::{Extent, flags};

/// Bytes allocated past the end of a file, which `fallocate` with `FALLOC_FL_KEEP_SIZE` allocates.
/// The rest of the unit that holds the end is none of them. Reads the map behind the end only, and
/// writes nothing out.
///
/// # Errors
/// The kernel's: EOPNOTSUPP where the file system has no FIEMAP.
///
/// ```
/// # use coriolis_ovm_exporter::sys::allocation;
/// let mut file = tempfile::tempfile()?;
/// std::io::Write::write_all(&mut file, &[7; 5000])?;
/// // Where the file system has no map, it says so.
/// assert_eq!(allocation::past_end(&file).unwrap_or(0), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn past_end(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    // OCFS2 gives the cluster here.
    let end = metadata.len().next_multiple_of(metadata.blksize().max(1));
    allocated(ExtentReader::as_it_is(file, end), end)
}

/// Bytes that the extents of a file hold, unwritten ones too; 0 for what is kept inside the inode.
///
/// # Errors
/// As [`past_end`].
pub fn in_all(file: &File) -> io::Result<u64> {
    allocated(ExtentReader::as_it_is(file, 0), 0)
}

fn allocated(extents: impl Iterator<Item = io::Result<Extent>>, from: u64) -> io::Result<u64> {
    let mut sum = 0_u64;
    for extent in extents {
        let extent = extent?;
        if extent.flags & flags::INLINE == 0 {
            let end = extent.logical.saturating_add(extent.length);
            sum = sum.saturating_add(end.saturating_sub(extent.logical.max(from)));
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(logical: u64, length: u64, flags: u32) -> io::Result<Extent> {
        Ok(Extent {
            logical,
            physical: 1 << 20,
            length,
            flags,
        })
    }

    #[test]
    fn what_lies_before_does_not_count() {
        let sum = |extents: Vec<io::Result<Extent>>, from| allocated(extents.into_iter(), from);
        let across = || vec![extent(0, 100, 0), extent(100, 50, flags::UNWRITTEN)];
        assert_eq!(sum(across(), 0).unwrap(), 150);
        assert_eq!(sum(across(), 99).unwrap(), 51);
        assert_eq!(sum(across(), 100).unwrap(), 50);
        assert_eq!(sum(across(), 149).unwrap(), 1);
        assert_eq!(sum(across(), 150).unwrap(), 0);
        assert_eq!(sum(across(), 1000).unwrap(), 0);
        assert_eq!(
            sum(vec![extent(0, 3896, flags::INLINE)], 0).unwrap(),
            0,
            "the room inside the inode is no cluster"
        );
        assert!(sum(vec![Err(io::Error::other("sick"))], 0).is_err());
    }
}
