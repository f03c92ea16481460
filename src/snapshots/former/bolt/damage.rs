//! What was wrong inside a file that is otherwise readable.

use thiserror::Error;

/// One place that could not be read. Everything else was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("node at byte {at}: {fault}")]
pub struct Damage {
    /// Where the node lies in the file.
    pub at: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// It lies behind the pages in use or the end of the file, or on a meta page.
    #[error("page {0} is not in the file")]
    NoSuchPage(u64),
    /// Two links lead to one page.
    #[error("page {0} is reached a second time")]
    Loop(u64),
    /// It carries another page's number.
    #[error("it carries the number {found}, not {page}")]
    WrongNumber {
        /// Where it lies.
        page: u64,
        /// The number in its header.
        found: u64,
    },
    /// Neither branch nor leaf, or a branch where none can be.
    #[error("its flags {0:#x} are those of no tree node that can be here")]
    WrongKind(u16),
    /// An entry whose position or lengths lead out of the node.
    #[error("entry {0} does not fit it")]
    BadEntry(u16),
    /// Keys out of order.
    #[error("the key of entry {0} is not behind the one before it")]
    Disorder(u16),
    /// More levels than any tree has.
    #[error("it lies too deep in the tree")]
    TooDeep,
    /// More entries than are looked at.
    #[error("more entries than the limit")]
    TooMany,
    /// The system could not read it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// More damage than is worth listing.
    #[error("and {0} more damaged places")]
    More(usize),
}
