//! The GUID partition table, with its checksums, or its copy at the end of the disk.
//!
//! Of the crates that read it, `gpt` panics where an entry is not of 128 bytes, and takes as much
//! memory as a header asks for.

use super::Table;
use super::bytes::{guid, has, le32, le64, wide_label};
use super::mbr;
use super::peek::Peek;
use crate::protocol::{Partition, TableKind};

/// The type of an EFI system partition.
pub(super) const EFI_SYSTEM: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// 128 is usual, and all that Windows reads.
const MOST_ENTRIES: u32 = 1024;
/// A table is not larger.
const LARGEST_TABLE: usize = 1 << 20;
/// So many partitions are looked at.
const MOST_PARTITIONS: usize = 256;
/// Bytes of a sector; the second is for disks that were one to one 4Kn devices.
const SECTORS: [u64; 2] = [512, 4096];

/// The table, if the first sector or a header says that there is one.
pub(super) fn read(peek: &mut Peek<'_>, first: &[u8]) -> Option<Table> {
    let protective = mbr::is_protective(first);
    for sector in SECTORS {
        let header = peek.read(sector, 512).filter(|it| has(it, 0, b"EFI PART"));
        if header.is_none() && !protective {
            continue;
        }
        let main = header.and_then(|header| entries(peek, &header, sector));
        if let Some((id, entries)) = main {
            return Some(table(peek, id, &entries, sector));
        }
        let last = (peek.size() / sector).saturating_sub(1);
        let copy = peek.read(last * sector, 512);
        if let Some((id, entries)) = copy.and_then(|copy| entries_of_copy(peek, &copy, sector)) {
            peek.note(
                "the GUID partition table is damaged; its copy at the end of the disk is good"
                    .to_owned(),
            );
            return Some(table(peek, id, &entries, sector));
        }
    }
    if protective {
        peek.note(
            "there should be a GUID partition table, but neither it nor its copy is good"
                .to_owned(),
        );
        return Some(Table {
            kind: TableKind::Gpt,
            id: None,
            partitions: Vec::new(),
        });
    }
    None
}

type Entries = (String, Vec<Vec<u8>>);

fn entries_of_copy(peek: &mut Peek<'_>, header: &[u8], sector: u64) -> Option<Entries> {
    has(header, 0, b"EFI PART").then(|| entries(peek, header, sector))?
}

/// The disk's id and the entries of a header, all of which its checksums say are good.
fn entries(peek: &mut Peek<'_>, header: &[u8], sector: u64) -> Option<Entries> {
    let length = usize::try_from(le32(header, 12)?).ok()?;
    if !(92..=header.len()).contains(&length) {
        return None;
    }
    let mut summed = header[..length].to_vec();
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != le32(header, 16)? {
        return None;
    }
    let (count, size) = (le32(header, 80)?, usize::try_from(le32(header, 84)?).ok()?);
    if size < 128 || !size.is_multiple_of(8) || count > MOST_ENTRIES {
        peek.note(format!(
            "a GUID partition table with {count} entries of {size} bytes is not read"
        ));
        return None;
    }
    let bytes = size.checked_mul(usize::try_from(count).ok()?)?;
    if bytes > LARGEST_TABLE {
        return None;
    }
    let table = peek.read(le64(header, 72)?.checked_mul(sector)?, bytes)?;
    if crc32fast::hash(&table) != le32(header, 88)? {
        return None;
    }
    let id = guid(header, 56)?.to_string();
    Some((id, table.chunks_exact(size).map(<[u8]>::to_vec).collect()))
}

fn table(peek: &mut Peek<'_>, id: String, entries: &[Vec<u8>], sector: u64) -> Table {
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let Some(kind) = guid(entry, 0).filter(|kind| !kind.is_nil()) else {
            continue;
        };
        if partitions.len() == MOST_PARTITIONS {
            peek.note(format!(
                "more than {MOST_PARTITIONS} partitions: the rest is left out"
            ));
            break;
        }
        match partition(peek.size(), number, kind, entry, sector) {
            Some(partition) => partitions.push(partition),
            None => peek.note(format!("partition {number} does not lie on the disk")),
        }
    }
    Table {
        kind: TableKind::Gpt,
        id: Some(id),
        partitions,
    }
}

fn partition(
    disk: u64,
    number: u32,
    kind: uuid::Uuid,
    entry: &[u8],
    sector: u64,
) -> Option<Partition> {
    let start = le64(entry, 32)?.checked_mul(sector)?;
    let end = le64(entry, 40)?.checked_add(1)?.checked_mul(sector)?;
    let kind = kind.to_string();
    (start < end && end <= disk).then(|| Partition {
        number,
        start,
        length: end - start,
        purpose: purpose(&kind).map(str::to_owned),
        kind,
        name: entry.get(56..128).and_then(wide_label),
        // For BIOS machines.
        bootable: le64(entry, 48).is_some_and(|flags| flags & 4 != 0),
        content: None,
    })
}

fn purpose(kind: &str) -> Option<&'static str> {
    Some(match kind {
        EFI_SYSTEM => "EFI system",
        "21686148-6449-6e6f-744e-656564454649" => "BIOS boot",
        "0fc63daf-8483-4772-8e79-3d69d8477de4" => "Linux",
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" => "Linux swap",
        "e6d6d379-f507-44c2-a23c-238f2a3df928" => "Linux LVM",
        "a19d880f-05fc-4d3b-a006-743f0f84911e" => "Linux RAID",
        "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" => "Windows data",
        "e3c9e316-0b5c-4db8-817d-f92df00215ae" => "Windows reserved",
        "de94bba4-06d1-4d40-a16a-bfd50179d6ac" => "Windows recovery",
        _ => return None,
    })
}
