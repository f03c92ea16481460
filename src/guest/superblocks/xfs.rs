//! XFS: `struct xfs_dsb`, big endian, at the beginning.

use super::super::bytes::{be32, be64, has, label, uuid};
use crate::protocol::Content;

pub(in crate::guest) fn read(head: &[u8]) -> Option<Content> {
    if !has(head, 0, b"XFSB") {
        return None;
    }
    let block = be32(head, 4)?;
    if !(512..=65536).contains(&block) || !block.is_power_of_two() {
        return None;
    }
    Some(Content {
        kind: "xfs".to_owned(),
        uuid: uuid(head, 32),
        label: label(head, 108, 12),
        size: be64(head, 8)?.checked_mul(block.into()),
        group: None,
    })
}
