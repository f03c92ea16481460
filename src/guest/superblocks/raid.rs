//! Linux software RAID: at the beginning, 4 KiB from it, or near the end.

use super::super::bytes::{label, le32, uuid};
use super::super::peek::{Peek, Window};
use crate::protocol::Content;

const MAGIC: u32 = 0xa92b_4efc;
/// Versions 1.1 and 1.2; 1.2 is what is made today.
const AT: [u64; 2] = [0, 4096];
/// Version 0.90 stands in the last whole 64 KiB but one.
const OLD: u64 = 64 << 10;

pub(in crate::guest) fn read(peek: &mut Peek<'_>, window: Window, head: &[u8]) -> Option<Content> {
    // Version 1.0: 8 KiB from the end, on a boundary of 4 KiB.
    let end = (window.length.checked_sub(8192)? / 4096) * 4096;
    for at in AT.into_iter().chain([end]) {
        let block = match usize::try_from(at)
            .ok()
            .and_then(|at| head.get(at..at + 256))
        {
            Some(block) => block.to_vec(),
            None => match peek.within(window, at, 256) {
                Some(block) => block,
                None => continue,
            },
        };
        if le32(&block, 0) == Some(MAGIC) && le32(&block, 4) == Some(1) {
            return Some(Content {
                kind: "linux-raid".to_owned(),
                uuid: uuid(&block, 16),
                label: label(&block, 32, 32),
                ..Content::default()
            });
        }
    }
    let old = (window.length & !(OLD - 1)).checked_sub(OLD)?;
    let block = peek.within(window, old, 256)?;
    if le32(&block, 0)? != MAGIC || le32(&block, 4)? != 0 {
        return None;
    }
    // Four words, of which the last three stand further on; written with their first byte first.
    let mut id = [0; 16];
    for (word, at) in id.chunks_exact_mut(4).zip([20, 52, 56, 60]) {
        word.copy_from_slice(&le32(&block, at)?.to_be_bytes());
    }
    Some(Content {
        kind: "linux-raid".to_owned(),
        uuid: uuid(&id, 0),
        ..Content::default()
    })
}
