use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What `GET …/disks/{disk}/ranges` answers: what a replica of the base must write, from an offset
/// on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct RangePage {
    /// The disk's size, bytes: a replica ends with this one.
    pub size: u64,
    /// The snapshot that it was compared to; null: the ranges tile the disk.
    pub base: Option<Uuid>,
    /// `extents` or `content`.
    pub method: String,
    /// Why by content, or why all of the disk.
    pub reason: Option<String>,
    /// Sorted, not overlapping, inside the disk.
    pub ranges: Vec<ChangedRange>,
    /// Where to ask on; null: this was the last page.
    pub next: Option<u64>,
}

/// A range that a replica must write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct ChangedRange {
    /// Offset on the disk, bytes.
    pub start: u64,
    /// Bytes, never 0.
    pub length: u64,
    /// Bytes to fetch, or zeros.
    pub kind: ChangeKind,
}

/// What is in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Bytes to fetch and write.
    Data,
    /// It reads as zeros. A replica must become zero there (write zeros or punch a hole); only the
    /// bytes need not be fetched.
    Zero,
}

/// What `GET …/disks/{disk}/digests` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct DiskDigests {
    /// `sha256`, `blake3` or `xxh3` (the one of 128 bits).
    pub algorithm: String,
    /// The disk's size, bytes.
    pub size: u64,
    /// Bytes in a block, if the request named them. The last block may be shorter.
    pub block: Option<u64>,
    /// One of each block, hexadecimal.
    pub digests: Vec<String>,
    /// Of all bytes of the disk, holes as zeros: what `sha256sum` prints.
    pub whole: String,
}
