//! One tree node, on pages of its own or inline in a bucket's value.

use std::io::{Read, Seek};

use super::damage::Fault;
use super::meta::Meta;
use super::source::{Source, u16_at, u32_at, u64_at};

const HEADER_LEN: u64 = 16;
const ENTRY_LEN: u64 = 16;
/// Bytes of a bucket's value before its inline node.
const BUCKET_LEN: u64 = 16;
/// BoltDB takes no longer key.
const MAX_KEY: u32 = 32_768;

const FLAG_BRANCH: u16 = 1;
const FLAG_LEAF: u16 = 2;
const ENTRY_BUCKET: u32 = 1;

/// Where a bucket's tree begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// On a page.
    Page(u64),
    /// It is one leaf node, at this byte of the file.
    Inline {
        /// Where the node begins.
        at: u64,
        /// Bytes there are for it.
        len: u64,
    },
}

/// A node's header: how much there is to read.
#[derive(Debug)]
pub(super) struct Head {
    at: u64,
    len: u64,
    pub(super) is_branch: bool,
    pub(super) count: u16,
    /// The page behind it; None for an inline node.
    pub(super) end: Option<u64>,
}

/// A node's header and table; keys and values are still in the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) head: Head,
    table: Vec<u8>,
}

/// One entry of a leaf: where its key and value lie.
#[derive(Debug)]
pub(super) struct LeafEntry {
    pub(super) is_bucket: bool,
    pub(super) key: (u64, usize),
    pub(super) value: (u64, u64),
}

impl Bucket {
    /// Where the node of its root lies.
    pub(super) fn place(self, meta: &Meta) -> u64 {
        match self {
            Bucket::Page(page) => page.saturating_mul(u64::from(meta.page_size)),
            Bucket::Inline { at, .. } => at,
        }
    }
}

impl Head {
    pub(super) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        meta: &Meta,
        bucket: Bucket,
    ) -> Result<Head, Fault> {
        match bucket {
            Bucket::Page(page) => Head::on_page(source, meta, page),
            Bucket::Inline { len, .. } if len < HEADER_LEN => Err(Fault::BadEntry(0)),
            Bucket::Inline { at, len } => {
                let header = read(source, at, HEADER_LEN)?;
                let head = Head::parse(&header, at, len, None)?;
                if head.is_branch {
                    return Err(Fault::WrongKind(FLAG_BRANCH));
                }
                Ok(head)
            }
        }
    }

    fn on_page<R: Read + Seek>(
        source: &mut Source<R>,
        meta: &Meta,
        page: u64,
    ) -> Result<Head, Fault> {
        let page_size = u64::from(meta.page_size);
        let missing = || Fault::NoSuchPage(page);
        // Behind both limits there is nothing; pages 0 and 1 are the meta pages.
        let in_file = meta.pages.min(source.len() / page_size);
        if page < 2 || page >= in_file {
            return Err(missing());
        }
        let at = page * page_size;
        let header = read(source, at, HEADER_LEN)?;
        let found = u64_at(&header, 0).ok_or_else(missing)?;
        if found != page {
            return Err(Fault::WrongNumber { page, found });
        }
        let overflow = u64::from(u32_at(&header, 12).ok_or_else(missing)?);
        let end = page + 1 + overflow;
        if end > in_file {
            return Err(Fault::NoSuchPage(end - 1));
        }
        Head::parse(&header, at, (1 + overflow) * page_size, Some(end))
    }

    fn parse(header: &[u8], at: u64, len: u64, end: Option<u64>) -> Result<Head, Fault> {
        let flags = u16_at(header, 8).unwrap_or_default();
        let count = u16_at(header, 10).unwrap_or_default();
        if flags != FLAG_BRANCH && flags != FLAG_LEAF {
            return Err(Fault::WrongKind(flags));
        }
        if HEADER_LEN + u64::from(count) * ENTRY_LEN > len {
            return Err(Fault::BadEntry(count));
        }
        Ok(Head {
            at,
            len,
            is_branch: flags == FLAG_BRANCH,
            count,
            end,
        })
    }
}

impl LeafEntry {
    /// Bytes of key and value.
    pub(super) fn len(&self) -> u64 {
        self.value.0 - self.key.0 + self.value.1
    }
}

impl Node {
    /// Reads a node's table: at most 1 MiB, and not past the node's end.
    pub(super) fn read<R: Read + Seek>(source: &mut Source<R>, head: Head) -> Result<Node, Fault> {
        let len = u64::from(head.count) * ENTRY_LEN;
        let table = read(source, head.at + HEADER_LEN, len)?;
        Ok(Node { head, table })
    }

    /// Bytes behind the table, for keys and values.
    pub(super) fn room(&self) -> u64 {
        let table = HEADER_LEN + u64::from(self.head.count) * ENTRY_LEN;
        self.head.len.saturating_sub(table)
    }

    /// The child page of a branch's entry.
    pub(super) fn child(&self, index: u16) -> Option<u64> {
        u64_at(&self.table, usize::from(index) * 16 + 8)
    }

    /// An entry of a leaf.
    pub(super) fn leaf(&self, index: u16) -> Option<LeafEntry> {
        let row = usize::from(index) * 16;
        let number = |at| u32_at(&self.table, row + at);
        let (flags, position, key_len, value_len) =
            (number(0)?, number(4)?, number(8)?, number(12)?);
        if key_len > MAX_KEY {
            return None;
        }
        // All four are 32-bit numbers: the sums cannot overflow.
        let entry = HEADER_LEN + u64::from(index) * ENTRY_LEN;
        let key = entry + u64::from(position);
        let value = key + u64::from(key_len);
        let floor = HEADER_LEN + u64::from(self.head.count) * ENTRY_LEN;
        if key < floor || value + u64::from(value_len) > self.head.len {
            return None;
        }
        Some(LeafEntry {
            is_bucket: flags & ENTRY_BUCKET != 0,
            key: (self.head.at + key, usize::try_from(key_len).ok()?),
            value: (self.head.at + value, u64::from(value_len)),
        })
    }
}

/// What a bucket's value says. None where it is too short to be one.
pub(super) fn bucket<R: Read + Seek>(
    source: &mut Source<R>,
    (at, len): (u64, u64),
) -> Result<Option<Bucket>, Fault> {
    if len < BUCKET_LEN {
        return Ok(None);
    }
    let header = read(source, at, BUCKET_LEN)?;
    Ok(u64_at(&header, 0).map(|root| match root {
        0 => Bucket::Inline {
            at: at + BUCKET_LEN,
            len: len - BUCKET_LEN,
        },
        page => Bucket::Page(page),
    }))
}

fn read<R: Read + Seek>(source: &mut Source<R>, at: u64, len: u64) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: String| Fault::Unreadable(error);
    let len = usize::try_from(len).map_err(|error| unreadable(error.to_string()))?;
    source
        .read(at, len)
        .map_err(|error| unreadable(error.to_string()))
}
