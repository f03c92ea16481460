//! ext2, ext3, ext4: `struct ext4_super_block`, 1024 bytes from the beginning.

use super::super::bytes::{label, le16, le32, uuid};
use crate::protocol::Content;

const AT: usize = 1024;
const MAGIC: u16 = 0xef53;
const COMPAT_JOURNAL: u32 = 0x4;
const INCOMPAT_JOURNAL_DEVICE: u32 = 0x8;
/// What ext3 knows: file types, recovery, meta block groups.
const INCOMPAT_EXT3: u32 = 0x2 | 0x4 | 0x10;
/// The same: sparse superblocks, large files, B-tree directories.
const RO_COMPAT_EXT3: u32 = 0x1 | 0x2 | 0x4;
const INCOMPAT_64BIT: u32 = 0x80;

pub(in crate::guest) fn read(head: &[u8]) -> Option<Content> {
    let block = head.get(AT..)?;
    if le16(block, 56)? != MAGIC {
        return None;
    }
    let (compat, incompat, ro_compat) = (le32(block, 92)?, le32(block, 96)?, le32(block, 100)?);
    let kind = if incompat & INCOMPAT_JOURNAL_DEVICE != 0 {
        "jbd"
    } else if incompat & !INCOMPAT_EXT3 != 0 || ro_compat & !RO_COMPAT_EXT3 != 0 {
        "ext4"
    } else if compat & COMPAT_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let high = match incompat & INCOMPAT_64BIT {
        0 => 0,
        _ => le32(block, 0x150)?,
    };
    let blocks = u64::from(high) << 32 | u64::from(le32(block, 4)?);
    let size = 1024_u64
        .checked_shl(le32(block, 24)?)
        .and_then(|bytes| blocks.checked_mul(bytes));
    Some(Content {
        kind: kind.to_owned(),
        uuid: uuid(block, 104),
        label: label(block, 120, 16),
        size,
        group: None,
    })
}
