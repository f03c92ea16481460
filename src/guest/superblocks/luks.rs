//! LUKS, both versions: big endian, at the beginning.

use super::super::bytes::{be16, has, label};
use crate::protocol::Content;

pub(in crate::guest) fn read(head: &[u8]) -> Option<Content> {
    if !has(head, 0, b"LUKS\xba\xbe") {
        return None;
    }
    let version = be16(head, 6)?;
    Some(Content {
        kind: format!("luks{version}"),
        uuid: label(head, 168, 40),
        label: (version == 2).then(|| label(head, 24, 48)).flatten(),
        size: None,
        group: None,
    })
}
