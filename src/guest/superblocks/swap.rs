//! Linux swap: its name at the end of the first page, however large pages were where it was made.

use super::super::bytes::{has, label, le32, uuid};
use super::super::peek::{Peek, Window};
use crate::protocol::Content;

const PAGES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

pub(in crate::guest) fn read(peek: &mut Peek<'_>, window: Window, head: &[u8]) -> Option<Content> {
    for page in PAGES {
        let end = match head.get(page - 10..page) {
            Some(end) => end.to_vec(),
            None => peek.within(window, page as u64 - 10, 10)?,
        };
        if end != b"SWAPSPACE2" && end != b"SWAP-SPACE" {
            continue;
        }
        // The first version has nothing else.
        let second = has(&end, 0, b"SWAPSPACE2") && le32(head, 1024) == Some(1);
        let size = || {
            u64::from(le32(head, 1028)?)
                .checked_add(1)?
                .checked_mul(page as u64)
        };
        return Some(Content {
            kind: "swap".to_owned(),
            uuid: second.then(|| uuid(head, 1036)).flatten(),
            label: second.then(|| label(head, 1052, 16)).flatten(),
            size: second.then(size).flatten(),
            group: None,
        });
    }
    None
}
