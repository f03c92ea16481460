//! What was wrong inside a file that is otherwise readable.

use thiserror::Error;

/// One place that could not be read. Everything else in the file was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// Buckets that the metadata names have no room in the file.
    #[error("the file has {pages} pages but the metadata names {buckets} buckets: it is cut short")]
    CutShort {
        /// Whole pages in the file.
        pages: usize,
        /// Buckets in use according to the metadata page.
        buckets: u64,
    },
    /// A link leads past the end of the file, or to page 0.
    #[error("page {page}: not in the file")]
    NoSuchPage {
        /// The page number.
        page: u32,
    },
    /// Two links lead to one page.
    #[error("page {page}: reached a second time")]
    Loop {
        /// The page number.
        page: u32,
    },
    /// The page carries another page's number: it was half written.
    #[error("page {page}: carries the number {found}")]
    WrongNumber {
        /// Where the page lies.
        page: u32,
        /// The number in its header.
        found: u32,
    },
    /// A page of a kind that cannot be here.
    #[error("page {page}: is of type {found}, expected {expected}")]
    WrongType {
        /// The page number.
        page: u32,
        /// The type byte.
        found: u8,
        /// What a healthy file has here.
        expected: &'static str,
    },
    /// An item whose offset or length leads out of the page.
    #[error("page {page}, item {item}: its offsets do not fit the page")]
    BadItem {
        /// The page number.
        page: u32,
        /// The item's index on the page.
        item: u16,
    },
    /// A key without a value.
    #[error("page {page}: has an odd number of items ({items})")]
    Unpaired {
        /// The page number.
        page: u32,
        /// Items on the page.
        items: u16,
    },
    /// An item type that this reader does not know.
    #[error("page {page}, item {item}: item type {found} is not supported{}", hint(*found))]
    UnknownItem {
        /// The page number.
        page: u32,
        /// The item's index on the page.
        item: u16,
        /// The type byte.
        found: u8,
    },
    /// An overflow chain that is shorter or longer than the item says.
    #[error("overflow chain from page {page}: has {found} bytes, expected {expected}")]
    WrongLength {
        /// The chain's first page.
        page: u32,
        /// Bytes on the chain, as far as it was followed.
        found: usize,
        /// Bytes that the item names.
        expected: u32,
    },
    /// More damage than is worth listing.
    #[error("and {0} more")]
    More(usize),
}

/// Off-page duplicates are a whole B-tree; the agent's tables have no duplicates at all.
fn hint(item_type: u8) -> &'static str {
    match item_type {
        4 => " (duplicates on pages of their own)",
        _ => "",
    }
}
