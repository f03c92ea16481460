//! The label in one of the first four sectors, and the way from it to the description.

use super::super::bytes::{has, label, le32, le64};
use super::super::peek::{Peek, Window};
use super::{checksum_fits, hyphened};

const SECTOR: usize = 512;
const SECTORS: usize = 4;
/// A header of an area, and what it begins with behind its checksum.
const AREA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// Lists of areas have two or three entries.
const MOST_AREAS: usize = 16;
/// A description of this size is of thousands of volumes.
const LARGEST: u64 = 1 << 20;

/// Offset and size of an area that holds descriptions, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    at: u64,
    size: u64,
}

#[derive(Debug)]
pub(super) struct Label {
    pub(super) uuid: String,
    /// Bytes of the physical volume.
    pub(super) size: u64,
    pub(super) areas: Vec<Area>,
}

/// The label in the beginning of a volume.
pub(super) fn read(head: &[u8]) -> Option<Label> {
    let sector = head
        .chunks_exact(SECTOR)
        .take(SECTORS)
        .find(|sector| has(sector, 0, b"LABELONE") && has(sector, 24, b"LVM2 001"))?;
    if !checksum_fits(sector, 16) {
        return None;
    }
    let at = usize::try_from(le32(sector, 20)?).ok()?;
    let header = sector.get(at..)?;
    let mut label = Label {
        uuid: hyphened(&label(header, 0, 32)?),
        size: le64(header, 32)?,
        areas: Vec::new(),
    };
    // Data areas, a zero, metadata areas, a zero.
    let mut at = 40;
    let mut lists = 0;
    for _ in 0..MOST_AREAS {
        let area = Area {
            at: le64(header, at)?,
            size: le64(header, at + 8)?,
        };
        at += 16;
        match area.at {
            0 if lists == 1 => break,
            0 => lists += 1,
            _ if lists == 1 => label.areas.push(area),
            _ => {}
        }
    }
    Some(label)
}

/// The latest description in an area, if it is whole.
pub(super) fn description(peek: &mut Peek<'_>, window: Window, area: Area) -> Option<String> {
    let header = peek.within(window, area.at, SECTOR)?;
    if !checksum_fits(&header, 0) || !has(&header, 4, AREA_MAGIC) {
        return None;
    }
    let (at, length) = (le64(&header, 40)?, le64(&header, 48)?);
    let sector = SECTOR as u64;
    if at < sector || at >= area.size || length == 0 || length > LARGEST.min(area.size) {
        return None;
    }
    // It is a ring: what does not fit goes on behind the header.
    let straight = length.min(area.size - at);
    let mut text = peek.within(
        window,
        area.at.checked_add(at)?,
        usize::try_from(straight).ok()?,
    )?;
    if straight < length {
        let rest = usize::try_from(length - straight).ok()?;
        text.extend(peek.within(window, area.at.checked_add(sector)?, rest)?);
    }
    let mut summed = le32(&header, 56)?.to_le_bytes().to_vec();
    summed.extend_from_slice(&text);
    if !checksum_fits(&summed, 0) {
        return None;
    }
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    String::from_utf8(text.to_vec()).ok()
}
