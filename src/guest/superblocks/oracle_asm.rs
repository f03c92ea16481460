//! A disk of Oracle's ASM, as ASMLib marks it.

use super::super::bytes::{has, label};
use crate::protocol::Content;

pub(in crate::guest) fn read(head: &[u8]) -> Option<Content> {
    has(head, 32, b"ORCLDISK").then(|| Content {
        kind: "oracle-asm".to_owned(),
        label: label(head, 40, 24),
        ..Content::default()
    })
}
