//! NTFS: the boot sector, and the label from the fourth record of its master file table.

use super::super::bytes::{has, le16, le32, le64, wide_label};
use super::super::peek::{Peek, Window};
use crate::protocol::Content;

/// The record of `$Volume`.
const VOLUME: u64 = 3;
const LARGEST_RECORD: u64 = 4096;
const LARGEST_CLUSTER: u64 = 2 << 20;
/// Attribute types.
const NAME: u32 = 0x60;
const END: u32 = 0xffff_ffff;

pub(in crate::guest) fn read(peek: &mut Peek<'_>, window: Window, head: &[u8]) -> Option<Content> {
    if !has(head, 3, b"NTFS    ") || !has(head, 510, &[0x55, 0xaa]) {
        return None;
    }
    let sector = u64::from(le16(head, 11)?);
    let serial = le64(head, 72)?;
    let name = record(head, sector)
        .and_then(|(at, length)| peek.within(window, at, length))
        .and_then(|record| volume_name(record, sector));
    Some(Content {
        kind: "ntfs".to_owned(),
        uuid: Some(format!("{serial:016X}")),
        label: name,
        size: le64(head, 40)?.checked_mul(sector),
        group: None,
    })
}

/// Where the record of `$Volume` is, and how long.
fn record(head: &[u8], sector: u64) -> Option<(u64, usize)> {
    let cluster = unit(*head.get(13)?, sector)?;
    if !(512..=4096).contains(&sector) || cluster == 0 || cluster > LARGEST_CLUSTER {
        return None;
    }
    let length = unit(*head.get(64)?, cluster)?;
    if !(512..=LARGEST_RECORD).contains(&length) {
        return None;
    }
    let table = le64(head, 48)?.checked_mul(cluster)?;
    let at = table.checked_add(VOLUME * length)?;
    Some((at, usize::try_from(length).ok()?))
}

/// A number of smaller units, or where it is negative a power of two.
fn unit(number: u8, smaller: u64) -> Option<u64> {
    match i8::from_ne_bytes([number]) {
        negative @ ..0 => 1_u64.checked_shl(negative.unsigned_abs().into()),
        _ => u64::from(number).checked_mul(smaller),
    }
}

fn volume_name(mut record: Vec<u8>, sector: u64) -> Option<String> {
    if !has(&record, 0, b"FILE") {
        return None;
    }
    repair(&mut record, usize::try_from(sector).ok()?)?;
    let mut at = usize::from(le16(&record, 20)?);
    loop {
        let kind = le32(&record, at)?;
        let length = usize::try_from(le32(&record, at + 4)?).ok()?;
        if kind == END || length < 24 {
            return None;
        }
        if kind == NAME {
            let resident = *record.get(at + 8)? == 0;
            let value = usize::try_from(le32(&record, at + 16)?).ok()?;
            let begins = at + usize::from(le16(&record, at + 20)?);
            let field = record.get(begins..begins.checked_add(value)?)?;
            return resident.then(|| wide_label(field))?;
        }
        at = at.checked_add(length)?;
    }
}

/// The last two bytes of each sector of a record stand elsewhere, to show torn writes.
fn repair(record: &mut [u8], sector: usize) -> Option<()> {
    let (list, count) = (usize::from(le16(record, 4)?), usize::from(le16(record, 6)?));
    for number in 1..count {
        let from = list + 2 * number;
        let saved = [*record.get(from)?, *record.get(from + 1)?];
        let end = number.checked_mul(sector)?;
        record
            .get_mut(end.checked_sub(2)?..end)?
            .copy_from_slice(&saved);
    }
    Some(())
}
