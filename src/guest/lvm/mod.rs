//! LVM2: a physical volume's label, the group's description beside it, and what lies in those
//! logical volumes that begin on this volume.

mod description;
mod label;

use super::bytes::le32;
use super::content;
use super::peek::{Peek, Window};
use crate::protocol::{Content, LogicalVolume, VolumeGroup};
use description::{Group, Volume};

/// So many logical volumes are listed, and looked into.
const MOST_VOLUMES: usize = 64;

/// A physical volume, if this is one.
pub(super) fn read(peek: &mut Peek<'_>, window: Window, head: &[u8]) -> Option<Content> {
    let label = label::read(head)?;
    let text = label
        .areas
        .iter()
        .find_map(|area| label::description(peek, window, *area));
    let group = text.as_deref().and_then(description::read);
    if text.is_none() && !label.areas.is_empty() {
        peek.note("the description of a volume group is damaged, or there is none".to_owned());
    } else if text.is_some() && group.is_none() {
        peek.note("the description of a volume group cannot be understood".to_owned());
    }
    Some(Content {
        kind: "lvm2".to_owned(),
        group: group.map(|group| present(peek, window, &label.uuid, &group)),
        uuid: Some(label.uuid),
        label: None,
        size: Some(label.size),
    })
}

fn present(peek: &mut Peek<'_>, window: Window, physical: &str, group: &Group) -> VolumeGroup {
    if group.volumes.len() > MOST_VOLUMES {
        peek.note(format!(
            "more than {MOST_VOLUMES} logical volumes: the rest is left out"
        ));
    }
    let volumes = group.volumes.iter().take(MOST_VOLUMES).map(|volume| {
        let inside = stretch(window, physical, group, volume);
        LogicalVolume {
            name: volume.name.clone(),
            uuid: volume.uuid.clone(),
            size: volume.extents.saturating_mul(group.extent),
            content: inside.and_then(|window| content::recognise_within(peek, window)),
        }
    });
    VolumeGroup {
        name: group.name.clone(),
        uuid: group.uuid.clone(),
        physical_volumes: group.physical.len(),
        volumes: volumes.collect(),
    }
}

/// Where a logical volume's first piece lies, if on this physical volume.
fn stretch(window: Window, physical: &str, group: &Group, volume: &Volume) -> Option<Window> {
    let first = volume.first.as_ref()?;
    let on = group.physical.iter().find(|it| it.name == first.on)?;
    if on.uuid != physical {
        return None;
    }
    let at = first
        .begins
        .checked_mul(group.extent)?
        .checked_add(on.begins)?;
    let length = first.extents.checked_mul(group.extent)?;
    (at.checked_add(length)? <= window.length).then_some(Window {
        start: window.start.checked_add(at)?,
        length,
    })
}

/// LVM's own checksum: that of Ethernet, begun with another value and not turned over.
fn checksum_fits(bytes: &[u8], at: usize) -> bool {
    const BEGIN: u32 = 0xf597_a6cf;
    let mut hasher = crc32fast::Hasher::new_with_initial(!BEGIN);
    hasher.update(bytes.get(at + 4..).unwrap_or_default());
    le32(bytes, at) == Some(!hasher.finalize())
}

/// Ids are written with hyphens.
fn hyphened(id: &str) -> String {
    const GROUPS: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];
    let mut rest = id;
    let mut parts = Vec::new();
    for length in GROUPS {
        let Some((part, more)) = rest.split_at_checked(length) else {
            return id.to_owned();
        };
        parts.push(part);
        rest = more;
    }
    parts.join("-")
}
