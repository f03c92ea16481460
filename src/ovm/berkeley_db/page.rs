//! One page: its header and its items.

use super::bytes::ByteOrder;
use super::damage::Damage;
use super::metadata::Metadata;

/// Hash page whose items are in no order, written up to libdb 4.5.
pub(super) const TYPE_HASH_UNSORTED: u8 = 2;
/// A page of an overflow chain.
pub(super) const TYPE_OVERFLOW: u8 = 7;
/// Hash page whose items are sorted, written from libdb 4.6 on.
pub(super) const TYPE_HASH: u8 = 13;

/// A page, its number checked.
#[derive(Debug)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
    header_len: usize,
    /// Where the page lies in the file.
    pub(super) number: u32,
    /// The next page of the bucket or chain; 0 ends it.
    pub(super) next: u32,
    /// Number of items on a hash page.
    pub(super) items: u16,
    /// On an overflow page the length of its data.
    data_len: u16,
    /// The type byte.
    pub(super) kind: u8,
}

impl<'a> Page<'a> {
    /// Reads the header of page `number`.
    ///
    /// A page that was allocated for a bucket but never written is all zero in the file and
    /// counts as an empty hash page, as in libdb.
    pub(super) fn read(file: &'a [u8], metadata: &Metadata, number: u32) -> Result<Self, Damage> {
        let missing = || Damage::NoSuchPage { page: number };
        let index = usize::try_from(number).map_err(|_| missing())?;
        let start = index.checked_mul(metadata.page_size).ok_or_else(missing)?;
        let end = start.checked_add(metadata.page_size).ok_or_else(missing)?;
        let bytes = file.get(start..end).ok_or_else(missing)?;
        let order = metadata.order;
        let u32_at = |at| order.u32(bytes, at).ok_or_else(missing);
        let u16_at = |at| order.u16(bytes, at).ok_or_else(missing);

        let unwritten = bytes
            .iter()
            .take(metadata.header_len)
            .all(|byte| *byte == 0);
        let found = u32_at(8)?;
        if found != number && !unwritten {
            return Err(Damage::WrongNumber {
                page: number,
                found,
            });
        }
        Ok(Self {
            bytes,
            order,
            header_len: metadata.header_len,
            number,
            next: u32_at(16)?,
            items: u16_at(20)?,
            data_len: u16_at(22)?,
            kind: if unwritten {
                TYPE_HASH
            } else {
                bytes.get(25).copied().ok_or_else(missing)?
            },
        })
    }

    /// The bytes of item `index`, type byte included. Items are packed from the end of the page
    /// towards its start in the order of their indices, so an item ends where the one before it
    /// begins.
    pub(super) fn item(&self, index: u16) -> Result<&'a [u8], Damage> {
        let end = match index.checked_sub(1) {
            None => Some(self.bytes.len()),
            Some(before) => self.offset(before),
        };
        let start = self
            .offset(index)
            .filter(|start| *start >= self.items_floor());
        match (start, end) {
            (Some(start), Some(end)) if start < end => self.bytes.get(start..end),
            _ => None,
        }
        .ok_or(Damage::BadItem {
            page: self.number,
            item: index,
        })
    }

    /// The data of an overflow page.
    pub(super) fn overflow_data(&self) -> Option<&'a [u8]> {
        self.bytes
            .get(self.header_len..)?
            .get(..usize::from(self.data_len))
    }

    /// The first byte that an item may occupy: behind the header and all offsets.
    fn items_floor(&self) -> usize {
        self.header_len + 2 * usize::from(self.items)
    }

    fn offset(&self, index: u16) -> Option<usize> {
        let at = self.header_len + 2 * usize::from(index);
        self.order.u16(self.bytes, at).map(usize::from)
    }
}
