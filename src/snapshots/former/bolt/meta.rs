//! Pages 0 and 1: what kind of file this is, and where its tree begins.

use std::io::{self, Read, Seek};

use thiserror::Error;

use super::source::{Source, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// A meta lies behind its page's header.
const HEADER_LEN: u64 = 16;
const META_LEN: usize = 64;
/// What the checksum at the end of a meta covers.
const CHECKED_LEN: usize = 56;
/// Page sizes of the machines that Go runs on, and one power of two more on each side.
const SMALLEST_PAGE: u32 = 512;
const LARGEST_PAGE: u32 = 1 << 17;

/// Why nothing of a file can be read.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The system could not read it.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// No meta page in either place.
    #[error("it is no BoltDB file")]
    NotBolt,
    /// A version other than 2.
    #[error("BoltDB version {0} is not supported, only {VERSION}")]
    Version(u32),
    /// The page size is no power of two in bounds.
    #[error("page size {0} is not a power of two from {SMALLEST_PAGE} to {LARGEST_PAGE}")]
    PageSize(u32),
    /// The meta page was half written, and there is no other.
    #[error("the checksum of its meta page is wrong")]
    Checksum,
}

/// What a meta page says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    /// Root page of the bucket that holds all others.
    pub(super) root: u64,
    /// Pages in use: what is behind them is of no state.
    pub(super) pages: u64,
    transaction: u64,
}

/// The newest meta that is whole.
pub(super) fn newest<R: Read + Seek>(source: &mut Source<R>) -> Result<Meta, FormatError> {
    let first = at_page(source, 0);
    let mut found: Vec<Meta> = first.iter().copied().collect();
    // Where page 1 is depends on the page size, which is known from page 0 only if that is whole.
    let mut size = SMALLEST_PAGE;
    while size <= LARGEST_PAGE {
        found.extend(
            at_page(source, u64::from(size))
                .ok()
                .filter(|meta| meta.page_size == size),
        );
        size *= 2;
    }
    match found.into_iter().max_by_key(|meta| meta.transaction) {
        Some(meta) => Ok(meta),
        None => Err(first.err().unwrap_or(FormatError::NotBolt)),
    }
}

fn at_page<R: Read + Seek>(source: &mut Source<R>, page: u64) -> Result<Meta, FormatError> {
    let at = page + HEADER_LEN;
    if source.len() < at + 64 {
        return Err(FormatError::NotBolt);
    }
    parse(&source.read(at, META_LEN)?)
}

fn parse(bytes: &[u8]) -> Result<Meta, FormatError> {
    let u32_at = |at| u32_at(bytes, at).ok_or(FormatError::NotBolt);
    let u64_at = |at| u64_at(bytes, at).ok_or(FormatError::NotBolt);
    if u32_at(0)? != MAGIC {
        return Err(FormatError::NotBolt);
    }
    let version = u32_at(4)?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let page_size = u32_at(8)?;
    if !page_size.is_power_of_two() || !(SMALLEST_PAGE..=LARGEST_PAGE).contains(&page_size) {
        return Err(FormatError::PageSize(page_size));
    }
    let checked = bytes.get(..CHECKED_LEN).unwrap_or_default();
    if u64_at(CHECKED_LEN)? != fnv1a(checked) {
        return Err(FormatError::Checksum);
    }
    Ok(Meta {
        page_size,
        root: u64_at(16)?,
        pages: u64_at(40)?,
        transaction: u64_at(48)?,
    })
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
