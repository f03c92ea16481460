//! How much of everything.

/// Sizes in bytes, counts of things.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// The disk that is read from end to end.
    pub disk: u64,
    /// Pairs of every comparison in time.
    pub pairs: usize,
    /// Blocks of 4 KiB that lie apart.
    pub blocks: u64,
    /// Extents of the maps that are large.
    pub extents: u64,
    /// Extents of the disk that is cloned, where it has many.
    pub cloned: u64,
    /// Pairs of clones of a single extent: these are short.
    pub clones: usize,
    /// The disk that is replicated again and again.
    pub replicated: u64,
    /// Streams at once.
    pub streams: u64,
    /// The disk that each of them reads.
    pub streamed: u64,
    /// The disk that is sent packed and unpacked, on the fastest of links.
    pub packed: u64,
    /// Snapshots in one list.
    pub snapshots: u64,
}

impl Sizes {
    pub fn full() -> Sizes {
        Sizes {
            disk: 4 << 30,
            pairs: 5,
            blocks: 5_000,
            extents: 1_000_000,
            cloned: 100_000,
            clones: 31,
            replicated: 8 << 30,
            streams: 64,
            streamed: 256 << 20,
            packed: 3 << 29,
            snapshots: 1_000,
        }
    }

    /// Enough to see that everything works.
    pub fn short() -> Sizes {
        Sizes {
            disk: 16 << 20,
            pairs: 1,
            blocks: 100,
            extents: 2_000,
            cloned: 500,
            clones: 2,
            replicated: 32 << 20,
            streams: 8,
            streamed: 4 << 20,
            packed: 16 << 20,
            snapshots: 10,
        }
    }
}
