//! The partition table of BIOS machines, with the chain of its logical partitions.
//!
//! `mbrman` follows that chain without a limit to its length.

use super::Table;
use super::bytes::{has, le32};
use super::peek::Peek;
use crate::protocol::{Partition, TableKind};

pub(super) const SECTOR: usize = 512;
/// The type of an EFI system partition.
pub(super) const EFI_SYSTEM: &str = "ef";
/// The type that says: there is a GUID partition table.
const PROTECTIVE: u8 = 0xee;
/// Linux counts no further.
const MOST_LOGICAL: usize = 60;

/// Whether a partition of this type holds logical ones.
pub(super) fn is_extended(kind: &str) -> bool {
    matches!(kind, "05" | "0f" | "85")
}

/// Whether a first sector says that there is a GUID partition table.
pub(super) fn is_protective(first: &[u8]) -> bool {
    entries(first).is_some_and(|entries| entries.iter().any(|entry| entry.kind == PROTECTIVE))
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    flag: u8,
    kind: u8,
    /// In sectors; relative to what depends on where it stands.
    start: u64,
    sectors: u64,
}

/// The four entries of a sector with a table's signature.
fn entries(sector: &[u8]) -> Option<[Entry; 4]> {
    if !has(sector, 510, &[0x55, 0xaa]) {
        return None;
    }
    let mut entries = [Entry {
        flag: 0,
        kind: 0,
        start: 0,
        sectors: 0,
    }; 4];
    for (number, entry) in entries.iter_mut().enumerate() {
        let at = 446 + 16 * number;
        *entry = Entry {
            flag: *sector.get(at)?,
            kind: *sector.get(at + 4)?,
            start: le32(sector, at + 8)?.into(),
            sectors: le32(sector, at + 12)?.into(),
        };
    }
    Some(entries)
}

/// The table in the first sector, if there is one.
pub(super) fn read(peek: &mut Peek<'_>, first: &[u8]) -> Option<Table> {
    let primary = entries(first)?;
    if primary.iter().any(|entry| entry.flag & 0x7f != 0) {
        // Code, not a table.
        return None;
    }
    let signature = le32(first, 440).filter(|signature| *signature != 0);
    let mut table = Table {
        kind: TableKind::Mbr,
        id: signature.map(|signature| format!("{signature:08x}")),
        partitions: Vec::new(),
    };
    let mut extended = None;
    for (number, entry) in (1..).zip(primary) {
        if let Some(partition) = partition(peek, number, entry, 0) {
            if is_extended(&partition.kind) {
                extended.get_or_insert(entry);
            }
            table.partitions.push(partition);
        }
    }
    if let Some(extended) = extended {
        follow(peek, extended, &mut table.partitions);
    }
    Some(table)
}

/// Goes along the chain of logical partitions: each sector has one, and names the next sector.
fn follow(peek: &mut Peek<'_>, extended: Entry, partitions: &mut Vec<Partition>) {
    let mut seen = Vec::new();
    let mut at = extended.start;
    let mut number = 5;
    loop {
        if seen.contains(&at) {
            peek.note(format!(
                "the chain of logical partitions comes back to sector {at}"
            ));
            return;
        }
        seen.push(at);
        // Links without a partition count too.
        if seen.len() > MOST_LOGICAL {
            peek.note(format!(
                "more than {MOST_LOGICAL} logical partitions: the rest is left out"
            ));
            return;
        }
        let sector = peek.read(at * SECTOR as u64, SECTOR);
        let Some([own, next, ..]) = sector.as_deref().and_then(entries) else {
            peek.note(format!(
                "the chain of logical partitions breaks off at sector {at}"
            ));
            return;
        };
        if own.kind != 0 {
            partitions.extend(partition(peek, number, own, at));
            number += 1;
        }
        if next.kind == 0 {
            return;
        }
        at = extended.start + next.start;
    }
}

/// A partition whose entry counts from sector `base` on; none where the entry is free.
fn partition(peek: &mut Peek<'_>, number: u32, entry: Entry, base: u64) -> Option<Partition> {
    if entry.kind == 0 {
        return None;
    }
    let start = (base + entry.start) * SECTOR as u64;
    let wanted = entry.sectors * SECTOR as u64;
    if wanted == 0 || start >= peek.size() {
        peek.note(format!(
            "partition {number} is empty or lies behind the end of the disk"
        ));
        return None;
    }
    let length = wanted.min(peek.size() - start);
    if length < wanted {
        peek.note(format!(
            "partition {number} goes on behind the end of the disk"
        ));
    }
    let kind = format!("{:02x}", entry.kind);
    Some(Partition {
        number,
        start,
        length,
        purpose: purpose(entry.kind).map(str::to_owned),
        kind,
        name: None,
        bootable: entry.flag == 0x80,
        content: None,
    })
}

fn purpose(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x05 | 0x0f | 0x85 => "extended",
        0x07 => "Windows data",
        0x0b | 0x0c => "FAT32",
        0x27 => "Windows recovery",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xee => "GPT",
        0xef => "EFI system",
        0xfd => "Linux RAID",
        _ => return None,
    })
}
