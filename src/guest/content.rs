//! What a partition, a disk or a logical volume holds.

use super::lvm;
use super::peek::{Peek, Window};
use super::superblocks::{btrfs, ext, fat, luks, ntfs, oracle_asm, raid, swap, xfs};
use crate::protocol::Content;

/// Reads of a beginning: most superblocks lie in it.
pub(super) const HEAD: usize = 4096;

/// By its superblocks. Where there are several, those first that enclose others.
pub(super) fn recognise(peek: &mut Peek<'_>, window: Window) -> Option<Content> {
    let head = head(peek, window)?;
    lvm::read(peek, window, &head).or_else(|| without_volumes(peek, window, &head))
}

/// The same for what lies in a logical volume: groups inside of groups are not followed.
pub(super) fn recognise_within(peek: &mut Peek<'_>, window: Window) -> Option<Content> {
    let head = head(peek, window)?;
    without_volumes(peek, window, &head)
}

fn head(peek: &mut Peek<'_>, window: Window) -> Option<Vec<u8>> {
    let length = usize::try_from(window.length).map_or(HEAD, |length| length.min(HEAD));
    peek.within(window, 0, length)
}

fn without_volumes(peek: &mut Peek<'_>, window: Window, head: &[u8]) -> Option<Content> {
    luks::read(head)
        .or_else(|| raid::read(peek, window, head))
        .or_else(|| oracle_asm::read(head))
        .or_else(|| xfs::read(head))
        .or_else(|| swap::read(peek, window, head))
        .or_else(|| ext::read(head))
        .or_else(|| btrfs::read(peek, window))
        .or_else(|| ntfs::read(peek, window, head))
        .or_else(|| fat::read(head))
}
