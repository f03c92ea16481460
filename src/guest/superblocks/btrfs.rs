//! btrfs: `struct btrfs_super_block`, 64 KiB from the beginning.

use super::super::bytes::{has, label, le64, uuid};
use super::super::peek::{Peek, Window};
use crate::protocol::Content;

const AT: u64 = 64 << 10;

pub(in crate::guest) fn read(peek: &mut Peek<'_>, window: Window) -> Option<Content> {
    let block = peek.within(window, AT, 4096)?;
    if !has(&block, 0x40, b"_BHRfS_M") {
        return None;
    }
    if le64(&block, 0x88)? > 1 {
        peek.note("a btrfs has several devices: they must be copied at one moment".to_owned());
    }
    Some(Content {
        kind: "btrfs".to_owned(),
        uuid: uuid(&block, 0x20),
        label: label(&block, 0x12b, 256),
        size: le64(&block, 0x70),
        group: None,
    })
}
