//! FAT12, FAT16, FAT32: the BIOS parameter block in the first sector.

use super::super::bytes::{has, label, le16, le32};
use crate::protocol::Content;

/// What stands where there is no label.
const NO_NAME: &str = "NO NAME";

pub(in crate::guest) fn read(head: &[u8]) -> Option<Content> {
    // Where the extended part begins: signature, number, label, kind.
    let part = if has(head, 82, b"FAT32   ") {
        64
    } else if has(head, 54, b"FAT12   ") || has(head, 54, b"FAT16   ") {
        36
    } else {
        return None;
    };
    let (bytes, cluster) = (le16(head, 11)?, *head.get(13)?);
    let good = has(head, 510, &[0x55, 0xaa])
        && bytes.is_power_of_two()
        && (512..=4096).contains(&bytes)
        && cluster.is_power_of_two();
    if !good {
        return None;
    }
    let sectors = match le16(head, 19)? {
        0 => le32(head, 32)?,
        few => few.into(),
    };
    let number = le32(head, part + 3)?;
    let (high, low) = (number >> 16, number & 0xffff);
    Some(Content {
        kind: "vfat".to_owned(),
        uuid: (number != 0).then(|| format!("{high:04X}-{low:04X}")),
        label: label(head, part + 7, 11).filter(|label| label != NO_NAME),
        size: u64::from(sectors).checked_mul(bytes.into()),
        group: None,
    })
}
