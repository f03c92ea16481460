//! What is on a guest's disk, by its first sectors and superblocks.
//!
//! Whatever a disk holds is somebody else's: it may be damaged, or made to do harm. Each number is
//! checked before it is used, lists have an end, and of a disk no more than [`MOST`] bytes are read.
//! What cannot be understood is left out, with a note; nothing here is an error.

mod boot_code;
mod bytes;
pub mod checks;
mod content;
mod gpt;
mod lvm;
mod mbr;
mod peek;
mod superblocks;

use std::collections::BTreeMap;

pub use peek::{MOST, Source};
use peek::{Peek, Window};

use crate::protocol::{BootCode, Content, DiskContents, Firmware, Partition, TableKind};

/// Looks at a disk of `size` bytes.
pub fn look(source: &mut dyn Source, size: u64) -> DiskContents {
    let mut peek = Peek::new(source, size);
    let mut found = DiskContents::default();
    let Some(first) = peek.read(0, mbr::SECTOR) else {
        found.notes = peek.into_notes();
        return found;
    };
    let whole = Window {
        start: 0,
        length: size,
    };
    found.boot_code = boot_code::recognise(&first);
    let table = gpt::read(&mut peek, &first).or_else(|| mbr::read(&mut peek, &first));
    match table {
        // The first sector of a file system ends like a table does.
        Some(table) if table.kind == TableKind::Mbr && table.is_doubtful() => {
            found.content = content::recognise(&mut peek, whole);
            if found.content.is_none() {
                found.take(table);
            }
        }
        Some(table) => found.take(table),
        None => found.content = content::recognise(&mut peek, whole),
    }
    for partition in &mut found.partitions {
        // What holds logical ones holds nothing itself.
        if !mbr::is_extended(&partition.kind) {
            let window = Window {
                start: partition.start,
                length: partition.length,
            };
            partition.content = content::recognise(&mut peek, window);
        }
    }
    if found.table == TableKind::None && found.content.is_some() {
        // The code there is the file system's own.
        found.boot_code = BootCode::None;
    }
    found.firmware = firmware(&found, &mut peek);
    found.bytes_read = peek.bytes_read();
    found.notes.extend(peek.into_notes());
    found
}

/// A partition table, whichever it is.
#[derive(Debug)]
struct Table {
    kind: TableKind,
    id: Option<String>,
    partitions: Vec<Partition>,
}

impl Table {
    /// It has nothing in it that lies on the disk.
    fn is_doubtful(&self) -> bool {
        self.partitions.is_empty()
    }
}

trait Take {
    fn take(&mut self, table: Table);
}

impl Take for DiskContents {
    fn take(&mut self, table: Table) {
        self.table = table.kind;
        self.table_id = table.id;
        self.partitions = table.partitions;
    }
}

/// How a machine starts from a disk.
fn firmware(found: &DiskContents, peek: &mut Peek<'_>) -> Option<Firmware> {
    let is_fat = |content: &Option<Content>| content.as_ref().is_some_and(|it| it.kind == "vfat");
    let efi = found.partitions.iter().any(|partition| {
        (partition.kind == gpt::EFI_SYSTEM || partition.kind == mbr::EFI_SYSTEM)
            && is_fat(&partition.content)
    });
    let code = !matches!(found.boot_code, BootCode::None | BootCode::Unknown);
    match (code, efi) {
        (true, true) => {
            peek.note("there is an EFI system partition beside the code in the first sector: it may start either way".to_owned());
            Some(Firmware::Bios)
        }
        (true, false) => Some(Firmware::Bios),
        (false, true) => Some(Firmware::Uefi),
        (false, false) => None,
    }
}

/// UUIDs of which it is said that they are there more than once.
const MOST_DOUBLES: usize = 32;
/// Places that are named for one of them.
const MOST_PLACES: usize = 16;

/// What concerns several disks: file systems that cannot be told apart.
#[must_use]
pub fn doubles<'d>(disks: impl Iterator<Item = (&'d str, &'d DiskContents)>) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, contents) in disks {
        let partitions = contents.partitions.iter().filter_map(|partition| {
            let place = format!("partition {} of {name}", partition.number);
            Some((place, partition.content.as_ref()?))
        });
        let whole = contents.content.iter().map(|it| (name.to_owned(), it));
        for (place, content) in partitions.chain(whole) {
            let within = content.group.iter().flat_map(|group| {
                group.volumes.iter().filter_map(|volume| {
                    let place = format!("{}/{}", group.name, volume.name);
                    Some((place, volume.content.as_ref()?))
                })
            });
            for (place, content) in within.chain([(place, content)]) {
                if let Some(uuid) = &content.uuid {
                    let uuid = format!("{} {uuid}", content.kind);
                    places.entry(uuid).or_default().push(place);
                }
            }
        }
    }
    places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .take(MOST_DOUBLES)
        .map(|(uuid, mut places)| {
            let more = places.len().saturating_sub(MOST_PLACES);
            places.truncate(MOST_PLACES);
            if more > 0 {
                places.push(format!("{more} more"));
            }
            let places = places.join(", ");
            format!("the same UUID more than once, {uuid}: {places}; mounting by UUID takes either")
        })
        .collect()
}
