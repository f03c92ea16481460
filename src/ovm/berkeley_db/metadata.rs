//! Page 0: what kind of file this is, and where its buckets begin.

use thiserror::Error;

use super::bytes::ByteOrder;

const HASH_MAGIC: u32 = 0x0006_1561;
const BTREE_MAGIC: u32 = 0x0005_3162;
const QUEUE_MAGIC: u32 = 0x0004_2253;

/// Bytes of page 0 that this reader uses; the smallest page is larger.
const METADATA_LEN: usize = 512;
/// Type byte of a hash file's page 0.
const TYPE_HASH_METADATA: u8 = 8;
/// Bit in the metadata flags: pages carry a checksum after their header.
const FLAG_CHECKSUM: u8 = 0x01;
/// Bits in the metadata flags: the records lie in several files.
const FLAGS_PARTITIONED: u8 = 0x02 | 0x04;
/// Bit in the hash flags: the file is a directory of further databases.
const FLAG_SUBDATABASES: u32 = 0x02;

/// Page header, and the same with two bytes of padding and a four-byte checksum.
const HEADER_LEN: usize = 26;
const HEADER_LEN_CHECKSUM: usize = 32;

/// Entries of the spares table.
const SPARES: usize = 32;

/// Why nothing of a file can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Too short to have a metadata page.
    #[error("only {0} bytes long: not a Berkeley DB file, or not yet written")]
    TooShort(usize),
    /// No hash file's magic number in either byte order.
    #[error("not a Berkeley DB hash file: {0}")]
    NotHash(&'static str),
    /// A hash version other than 7, 8, 9.
    #[error("hash version {0} is not supported (libdb 4.3 to 5.3 write 7, 8 and 9)")]
    Version(u32),
    /// The page size is no power of two between 512 and 65536.
    #[error("page size {0} is not a power of two from 512 to 65536")]
    PageSize(u32),
    /// The pages are encrypted.
    #[error("the file is encrypted")]
    Encrypted,
    /// The records lie in several files.
    #[error("the database is partitioned over several files")]
    Partitioned,
    /// The file is a directory of further databases.
    #[error("the file holds several databases")]
    Subdatabases,
    /// Following the file would hand out more than the limit.
    #[error("holds more than {0} bytes of records")]
    TooMuch(usize),
}

/// What the metadata page says.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) order: ByteOrder,
    /// Bytes per page.
    pub(super) page_size: usize,
    /// Bytes before a page's offsets, or before an overflow page's data.
    pub(super) header_len: usize,
    max_bucket: u32,
    spares: [u32; SPARES],
}

impl Metadata {
    pub(super) fn parse(file: &[u8]) -> Result<Self, FormatError> {
        let too_short = || FormatError::TooShort(file.len());
        let bytes = file.get(..METADATA_LEN).ok_or_else(too_short)?;
        let order = byte_order(bytes)?;
        let u32_at = |at| order.u32(bytes, at).ok_or_else(too_short);
        let u8_at = |at: usize| bytes.get(at).copied().ok_or_else(too_short);

        let version = u32_at(16)?;
        if !(7..=9).contains(&version) {
            return Err(FormatError::Version(version));
        }
        if u8_at(24)? != 0 {
            return Err(FormatError::Encrypted);
        }
        if u8_at(25)? != TYPE_HASH_METADATA {
            return Err(FormatError::NotHash("page 0 is not a hash metadata page"));
        }
        let flags = u8_at(26)?;
        if flags & FLAGS_PARTITIONED != 0 {
            return Err(FormatError::Partitioned);
        }
        if u32_at(48)? & FLAG_SUBDATABASES != 0 {
            return Err(FormatError::Subdatabases);
        }
        let mut spares = [0; SPARES];
        for (at, spare) in (96..).step_by(4).zip(&mut spares) {
            *spare = u32_at(at)?;
        }
        Ok(Self {
            order,
            page_size: page_size(u32_at(20)?)?,
            header_len: if flags & FLAG_CHECKSUM == 0 {
                HEADER_LEN
            } else {
                HEADER_LEN_CHECKSUM
            },
            max_bucket: u32_at(72)?,
            spares,
        })
    }

    /// Buckets in use.
    pub(super) fn buckets(&self) -> u64 {
        u64::from(self.max_bucket) + 1
    }

    /// The first page of `bucket`. Bucket pages are allocated in groups that double; a group that
    /// was given recycled pages has a spare "below zero", hence the wrapping sum.
    pub(super) fn first_page(&self, bucket: u32) -> Option<u32> {
        // ceil(log2(bucket + 1)) is the number of significant bits of `bucket`.
        let group = usize::try_from(u32::BITS - bucket.leading_zeros()).ok()?;
        Some(bucket.wrapping_add(*self.spares.get(group)?))
    }
}

fn byte_order(bytes: &[u8]) -> Result<ByteOrder, FormatError> {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        match order.u32(bytes, 12) {
            Some(HASH_MAGIC) => return Ok(order),
            Some(BTREE_MAGIC) => return Err(FormatError::NotHash("it is a B-tree file")),
            Some(QUEUE_MAGIC) => return Err(FormatError::NotHash("it is a queue file")),
            _ => {}
        }
    }
    Err(FormatError::NotHash("its magic number is unknown"))
}

fn page_size(size: u32) -> Result<usize, FormatError> {
    if size.is_power_of_two() && (512..=65536).contains(&size) {
        usize::try_from(size).map_err(|_| FormatError::PageSize(size))
    } else {
        Err(FormatError::PageSize(size))
    }
}
