//! From bucket to bucket, page to page, item to record.

use super::damage::Damage;
use super::metadata::{FormatError, Metadata};
use super::page::{Page, TYPE_HASH, TYPE_HASH_UNSORTED, TYPE_OVERFLOW};
use super::{HashFile, Record};

/// Most bytes of records handed out, each record counted with [`RECORD_COST`] on top. Without it
/// a few KiB of duplicates under one long key would become gigabytes.
pub const MAX_OUTPUT: usize = 128 << 20;
/// What a record costs besides its bytes: two vectors.
const RECORD_COST: usize = 64;
/// Most places of damage that are listed one by one.
const MAX_DAMAGE: usize = 32;

/// First byte of an item.
const ITEM_BYTES: u8 = 1;
const ITEM_DUPLICATES: u8 = 2;
const ITEM_OVERFLOW: u8 = 3;

/// Why a record was not taken.
enum Failed {
    /// This one is broken; go on with the next.
    Broken(Damage),
    /// The limit is reached; give up.
    Limit,
}

impl From<Damage> for Failed {
    fn from(damage: Damage) -> Self {
        Self::Broken(damage)
    }
}

struct Walk<'a> {
    file: &'a [u8],
    metadata: Metadata,
    /// A page belongs to one bucket or one chain: a second visit is damage, and so no loop lasts.
    visited: Vec<bool>,
    spent: usize,
    unlisted: usize,
    found: HashFile,
}

pub(super) fn walk(file: &[u8]) -> Result<HashFile, FormatError> {
    let metadata = Metadata::parse(file)?;
    let pages = file.len() / metadata.page_size;
    let buckets = metadata.buckets();
    let mut walk = Walk {
        file,
        metadata,
        visited: vec![false; pages],
        spent: 0,
        unlisted: 0,
        found: HashFile::default(),
    };
    // Page 0 is the metadata and every bucket has a page of its own.
    let room = u32::try_from(pages).unwrap_or(u32::MAX).saturating_sub(1);
    if buckets > u64::from(room) {
        walk.report(Damage::CutShort { pages, buckets });
    }
    for bucket in (0..room).take_while(|bucket| u64::from(*bucket) < buckets) {
        walk.bucket(bucket)?;
    }
    if walk.unlisted > 0 {
        walk.found.damage.push(Damage::More(walk.unlisted));
    }
    Ok(walk.found)
}

impl<'a> Walk<'a> {
    fn bucket(&mut self, bucket: u32) -> Result<(), FormatError> {
        let mut next = self.metadata.first_page(bucket).unwrap_or(0);
        loop {
            let page = match self.visit(next) {
                Ok(page) => page,
                Err(damage) => {
                    self.report(damage);
                    return Ok(());
                }
            };
            if !matches!(page.kind, TYPE_HASH | TYPE_HASH_UNSORTED) {
                let expected = "a hash page (13 or 2)";
                self.report(Damage::WrongType {
                    page: page.number,
                    found: page.kind,
                    expected,
                });
                return Ok(());
            }
            self.hash_page(&page)?;
            next = page.next;
            if next == 0 {
                return Ok(());
            }
        }
    }

    fn hash_page(&mut self, page: &Page<'a>) -> Result<(), FormatError> {
        if !page.items.is_multiple_of(2) {
            self.report(Damage::Unpaired {
                page: page.number,
                items: page.items,
            });
        }
        for pair in 0..page.items / 2 {
            match self.pair(page, pair * 2, pair * 2 + 1) {
                Ok(()) => {}
                Err(Failed::Broken(damage)) => {
                    // Offsets that are no offsets come by the thousand: one is enough to say.
                    let offsets = matches!(damage, Damage::BadItem { .. });
                    self.report(damage);
                    if offsets {
                        return Ok(());
                    }
                }
                Err(Failed::Limit) => return Err(FormatError::TooMuch(MAX_OUTPUT)),
            }
        }
        Ok(())
    }

    fn pair(&mut self, page: &Page<'a>, key_at: u16, value_at: u16) -> Result<(), Failed> {
        let key = self.bytes(page, key_at)?;
        let value = page.item(value_at)?;
        match value.split_first() {
            Some((&ITEM_DUPLICATES, list)) => {
                let bad = || Damage::BadItem {
                    page: page.number,
                    item: value_at,
                };
                let mut rest = list;
                while !rest.is_empty() {
                    let (duplicate, behind) = self.duplicate(rest).ok_or_else(bad)?;
                    self.push(key.clone(), duplicate.to_vec())?;
                    rest = behind;
                }
                Ok(())
            }
            _ => {
                let value = self.bytes(page, value_at)?;
                self.push(key, value)
            }
        }
    }

    /// The bytes of one key or value, wherever they lie.
    fn bytes(&mut self, page: &Page<'a>, item: u16) -> Result<Vec<u8>, Failed> {
        let bytes = page.item(item)?;
        let bad = || Damage::BadItem {
            page: page.number,
            item,
        };
        match bytes.split_first() {
            Some((&ITEM_BYTES, content)) => Ok(content.to_vec()),
            Some((&ITEM_OVERFLOW, _)) => {
                // Type byte, three unused bytes, first page, total length.
                let first = self.metadata.order.u32(bytes, 4).ok_or_else(bad)?;
                let len = self.metadata.order.u32(bytes, 8).ok_or_else(bad)?;
                Ok(self.overflow(first, len)?)
            }
            Some((&found, _)) => Err(Damage::UnknownItem {
                page: page.number,
                item,
                found,
            }
            .into()),
            None => Err(bad().into()),
        }
    }

    /// One entry of a duplicate list (its length, its bytes, its length again) and what is left.
    fn duplicate(&self, list: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let order = self.metadata.order;
        let len = order.u16(list, 0)?;
        let end = usize::from(len).checked_add(2)?;
        let content = list.get(2..end)?;
        (order.u16(list, end)? == len).then_some((content, list.get(end + 2..)?))
    }

    fn overflow(&mut self, first: u32, len: u32) -> Result<Vec<u8>, Damage> {
        let wrong = |found| Damage::WrongLength {
            page: first,
            found,
            expected: len,
        };
        let expected = usize::try_from(len).map_err(|_| wrong(0))?;
        let mut content = Vec::new();
        let mut next = first;
        // No byte is reserved ahead: the chain's pages, each visited once, bound it.
        while content.len() < expected {
            let page = self.visit(next)?;
            if page.kind != TYPE_OVERFLOW {
                let expected = "an overflow page (7)";
                return Err(Damage::WrongType {
                    page: page.number,
                    found: page.kind,
                    expected,
                });
            }
            let data = page.overflow_data().ok_or_else(|| wrong(content.len()))?;
            content.extend_from_slice(data);
            next = page.next;
        }
        if content.len() == expected && next == 0 {
            Ok(content)
        } else {
            Err(wrong(content.len()))
        }
    }

    fn visit(&mut self, number: u32) -> Result<Page<'a>, Damage> {
        let index = usize::try_from(number).ok().filter(|index| *index != 0);
        match index.and_then(|index| self.visited.get_mut(index)) {
            None => Err(Damage::NoSuchPage { page: number }),
            Some(true) => Err(Damage::Loop { page: number }),
            Some(visited) => {
                *visited = true;
                Page::read(self.file, &self.metadata, number)
            }
        }
    }

    fn push(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Failed> {
        let record: Record = (key, value);
        self.spent += record.0.len() + record.1.len() + RECORD_COST;
        if self.spent > MAX_OUTPUT {
            return Err(Failed::Limit);
        }
        self.found.records.push(record);
        Ok(())
    }

    fn report(&mut self, damage: Damage) {
        if self.found.damage.len() < MAX_DAMAGE {
            self.found.damage.push(damage);
        } else {
            self.unlisted += 1;
        }
    }
}
