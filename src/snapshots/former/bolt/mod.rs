//! Reads BoltDB files without BoltDB: no lock is taken, nothing is written, nothing is mapped.
//!
//! # The format
//!
//! A file is a row of pages of one size, that of the machine that made it (4096 bytes on x86). All
//! numbers are little endian. A tree node starts on a page and may go on over the pages behind it,
//! its *overflow*.
//!
//! ```text
//! page header   number u64, flags u16 (branch 1, leaf 2, meta 4, free list 16), count u16, overflow u32
//! meta          magic u32, version u32, page size u32, flags u32, root bucket (page u64, sequence u64),
//!               free list u64, pages in use u64, transaction u64, FNV-1a of all before it u64
//! branch entry  position u32, key length u32, child page u64
//! leaf entry    flags u32 (bucket 1), position u32, key length u32, value length u32
//! bucket value  root page u64, sequence u64; with root page 0 a whole leaf node follows: *inline*
//! ```
//!
//! Pages 0 and 1 hold a meta each, written in turn: the one with the higher transaction counts,
//! unless its checksum is wrong. A position counts from the start of its own entry. Keys of a
//! bucket are in order, from leaf to leaf.
//!
//! Source: the layout that bbolt's own `page.go`, `db.go` and `bucket.go` describe (version 2,
//! unchanged from 2014 on). Crates that read it exist, but one maps the file and trusts what it
//! finds there, the other holds the file in memory and checks no checksum.
//!
//! # Bounds
//!
//! Any bytes at all end in a result. A page is read at most once in a visit, at most
//! [`MAX_ENTRIES`] entries are looked at, trees are at most [`MAX_DEPTH`] deep, no length is
//! believed before it was checked against the file, and a value is not read at all: the visitor gets
//! a reader.

mod damage;
mod meta;
mod node;
mod source;
mod visit;

pub use damage::{Damage, Fault};
pub use meta::FormatError;
pub use node::Bucket;
pub use visit::{Item, MAX_DEPTH, MAX_ENTRIES};

use std::io::{Read, Seek};

use meta::Meta;
use source::Source;

/// A BoltDB file, its newest state chosen.
#[derive(Debug)]
pub struct Database<R> {
    source: Source<R>,
    meta: Meta,
}

impl<R: Read + Seek> Database<R> {
    /// Reads the two meta pages.
    ///
    /// # Errors
    /// When nothing can be read: not a BoltDB file, another version, or neither meta page is
    /// whole.
    pub fn open(reader: R) -> Result<Self, FormatError> {
        let mut source = Source::new(reader)?;
        let meta = meta::newest(&mut source)?;
        Ok(Self { source, meta })
    }

    /// The bucket that holds all others.
    #[must_use]
    pub fn root(&self) -> Bucket {
        Bucket::Page(self.meta.root)
    }

    /// Calls `visitor` with each entry of a bucket, in the order of their keys. Returns what could
    /// not be read; a broken node does not hide the others.
    pub fn visit(
        &mut self,
        bucket: Bucket,
        visitor: &mut dyn FnMut(&[u8], Item<'_, R>),
    ) -> Vec<Damage> {
        visit::visit(&mut self.source, &self.meta, bucket, visitor)
    }

    /// The bucket of that name in a bucket, and what could not be read on the way.
    pub fn bucket(&mut self, within: Bucket, name: &[u8]) -> (Option<Bucket>, Vec<Damage>) {
        let mut found = None;
        let damage = self.visit(within, &mut |key, item| {
            if let (true, Item::Bucket(bucket)) = (key == name, item) {
                found = Some(bucket);
            }
        });
        (found, damage)
    }
}
