//! Superblocks, a file for each kind. Offsets are those of the kernel's and the tools' headers.

pub(super) mod btrfs;
pub(super) mod ext;
pub(super) mod fat;
pub(super) mod luks;
pub(super) mod ntfs;
pub(super) mod oracle_asm;
pub(super) mod raid;
pub(super) mod swap;
pub(super) mod xfs;
