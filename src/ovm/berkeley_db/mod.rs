//! Reads Berkeley DB **hash** files without libdb: no lock is taken, nothing is written.
//!
//! # The format
//!
//! A file is a row of pages of one size, 512 B to 64 KiB. All numbers are in the byte order of
//! the machine that made the file; the magic number on page 0 tells which.
//!
//! ```text
//! page 0            metadata: magic, version, page size, buckets in use, the spares table
//! hash page         header, u16 offset per item, free space, items packed against the page's end
//! overflow page     header, then bytes of one value (or key) too large for a hash page
//! ```
//!
//! A key lives in one of the buckets `0..=max_bucket`. Bucket `b` begins on page
//! `b + spares[ceil(log2(b + 1))]` and goes on along `next` links. Items come in pairs, key then
//! value. The first byte of an item is its type: the bytes themselves, a list of duplicates, or
//! the first page and the total length of an overflow chain. Every page other than page 0 carries
//! its own number, which is how a torn file is noticed.
//!
//! Only pages that a bucket leads to are read: free pages keep bytes of deleted records.
//! Source: the public headers `dbinc/db_page.h` and `dbinc/hash.h` of libdb 4.8 and 5.3; the
//! integration tests compare against files written by libdb 5.3.
//!
//! # Bounds
//!
//! Any bytes at all end in a result: a page is read at most once, what is handed out is limited
//! to [`MAX_OUTPUT`] bytes, and no length is believed before it was checked against the file.

mod bytes;
mod damage;
mod file;
mod metadata;
mod page;
mod walk;

pub use damage::Damage;
pub use file::{BerkeleyDbError, MAX_FILE, read};
pub use metadata::FormatError;
pub use walk::MAX_OUTPUT;

/// One key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What a hash file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HashFile {
    /// Every readable record, in the order of the buckets. A key that has several values
    /// (duplicates) appears once for each.
    pub records: Vec<Record>,
    /// What could not be read. A broken page or record does not hide the others.
    pub damage: Vec<Damage>,
}

impl HashFile {
    /// Reads a whole file held in memory.
    ///
    /// # Errors
    /// When nothing can be read: not a hash file, a version or kind this reader does not know, or
    /// more than [`MAX_OUTPUT`] bytes of records. Damage further in is reported in
    /// [`HashFile::damage`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        walk::walk(bytes)
    }
}

#[cfg(test)]
mod tests;
