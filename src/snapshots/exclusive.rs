//! How much space a snapshot holds that nothing else does: what deleting it would free.

use std::io;

use super::Snapshots;
use super::map_turns::MapTurns;
use super::snapshot::Snapshot;
use crate::extents::flags;
use crate::sys::fiemap::ExtentReader;
use crate::sys::file_system::{self, Kind};

impl Snapshots {
    /// Bytes that only this snapshot's files hold. As [`Snapshot::exclusive_bytes`], but comparisons
    /// that run meanwhile are not slowed down.
    #[must_use]
    pub fn exclusive_bytes(&self, snapshot: &Snapshot) -> Option<u64> {
        snapshot.exclusive_in_turn(&self.map_turns)
    }
}

impl Snapshot {
    /// Bytes that only this snapshot's files hold. Btrfs frees an extent only when nobody has any of
    /// it, so there a part of one does not count. None where the file system cannot say: OCFS2
    /// calls an extent shared for ever, a compressed extent takes fewer bytes than it covers, and a
    /// file that cannot be read says nothing.
    #[must_use]
    pub fn exclusive_bytes(&self) -> Option<u64> {
        self.exclusive_in_turn(&MapTurns::default())
    }

    fn exclusive_in_turn(&self, turns: &MapTurns) -> Option<u64> {
        self.manifest.disks.iter().try_fold(0_u64, |sum, disk| {
            let file = self.open(disk).ok()?;
            let status = file_system::status(file.file()).ok()?;
            if !matches!(status.kind, Kind::Xfs | Kind::Btrfs) {
                return None;
            }
            let turn = turns.of(&file);
            let own = unshared(turn.in_batches(ExtentReader::new(file.file(), 0))).ok()??;
            sum.checked_add(own)
        })
    }
}

/// None where an extent does not say what it takes.
fn unshared(
    extents: impl Iterator<Item = io::Result<crate::extents::Extent>>,
) -> io::Result<Option<u64>> {
    const OPAQUE: u32 = flags::UNKNOWN | flags::DELALLOC | flags::ENCODED | flags::ENCRYPTED;
    let mut sum = 0_u64;
    for extent in extents {
        let extent = extent?;
        if extent.flags & OPAQUE != 0 {
            return Ok(None);
        }
        if extent.flags & flags::SHARED == 0 {
            sum = sum.saturating_add(extent.length);
        }
    }
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extents::Extent;

    fn extent(length: u64, flags: u32) -> io::Result<Extent> {
        Ok(Extent {
            logical: 0,
            physical: 0,
            length,
            flags,
        })
    }

    #[test]
    fn only_what_is_not_shared_counts() {
        let map = [
            extent(10, flags::SHARED),
            extent(5, 0),
            extent(7, flags::LAST),
        ];
        assert_eq!(unshared(map.into_iter()).unwrap(), Some(12));
        let map = [extent(10, 0), extent(5, flags::ENCODED)];
        assert_eq!(unshared(map.into_iter()).unwrap(), None);
    }
}
