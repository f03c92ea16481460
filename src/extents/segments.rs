//! From raw extents to segments that say what each byte of a file is.

/// One extent as the kernel reports it, in bytes (`struct fiemap_extent`,
/// `include/uapi/linux/fiemap.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file.
    pub logical: u64,
    /// Offset on the device, as far as the file system has such a thing.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    /// [`flags`].
    pub flags: u32,
}

/// `FIEMAP_EXTENT_*`, `include/uapi/linux/fiemap.h`.
pub mod flags {
    /// Last extent of the file. OCFS2 does not promise to set it.
    pub const LAST: u32 = 0x1;
    /// The data's place is unknown.
    pub const UNKNOWN: u32 = 0x2;
    /// Allocation is still pending. Sets `UNKNOWN` too.
    pub const DELALLOC: u32 = 0x4;
    /// Compressed or otherwise encoded.
    pub const ENCODED: u32 = 0x8;
    /// Encrypted.
    pub const ENCRYPTED: u32 = 0x80;
    /// Offsets may not be block aligned.
    pub const NOT_ALIGNED: u32 = 0x100;
    /// Data lie inside metadata.
    pub const INLINE: u32 = 0x200;
    /// Several files' tails share a block.
    pub const TAIL: u32 = 0x400;
    /// Allocated, reads as zeros.
    pub const UNWRITTEN: u32 = 0x800;
    /// The file system keeps no extents; this one was put together from blocks.
    pub const MERGED: u32 = 0x1000;
    /// Space is shared with other files. Says nothing about change.
    pub const SHARED: u32 = 0x2000;
}

/// What the bytes of a [`Segment`] are, as far as a map can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Reads as zeros: a hole, or allocated and never written.
    Zero,
    /// The segment's first byte lies at this device offset; the others follow it.
    Data(u64),
    /// The map cannot vouch for the place. Equal to nothing, not even to itself.
    Opaque,
}

impl Content {
    /// The content of what lies `bytes` further on in the same segment.
    #[must_use]
    pub fn advanced(self, bytes: u64) -> Content {
        match self {
            // An address that overflows is no address.
            Content::Data(physical) => physical
                .checked_add(bytes)
                .map_or(Content::Opaque, Content::Data),
            other => other,
        }
    }
}

/// A stretch of a file with one [`Content`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file, bytes.
    pub start: u64,
    /// Bytes, never 0.
    pub length: u64,
    /// What lies there.
    pub content: Content,
}

impl Segment {
    /// First byte after the segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// Flags that leave the meaning of `physical` intact.
const HARMLESS: u32 = flags::LAST | flags::MERGED | flags::SHARED;

/// What an extent's flags and address make of its bytes.
fn classify(extent: &Extent) -> Content {
    match extent.flags & !HARMLESS {
        flags::UNWRITTEN => Content::Zero,
        // Every file system that we know keeps its superblock at the start of the device: an
        // address of 0 without a flag is a file system that does not tell.
        0 if extent.physical == 0 => Content::Opaque,
        0 if extent.physical.checked_add(extent.length).is_none() => Content::Opaque,
        0 => Content::Data(extent.physical),
        // Any other flag, known or not, alone or with UNWRITTEN.
        _ => Content::Opaque,
    }
}

/// Tiles a file of `size` bytes with segments, from `from` on: holes become zero segments, extents
/// are clipped to what is left, errors of the source pass through.
///
/// ```
/// use coriolis_ovm_exporter::extents::{Content, Extent, Segments};
///
/// let extents = [Extent { logical: 4096, physical: 1 << 20, length: 8192, flags: 0 }];
/// let source = extents.into_iter().map(Ok::<_, std::io::Error>);
/// let segments: Vec<_> = Segments::new(source, 10_000, 0).map(Result::unwrap).collect();
/// assert_eq!(segments[0].content, Content::Zero);
/// assert_eq!((segments[1].start, segments[1].length), (4096, 10_000 - 4096));
/// ```
#[derive(Debug)]
pub struct Segments<I> {
    extents: I,
    size: u64,
    position: u64,
    /// An extent that begins after `position`: the hole before it goes out first.
    ahead: Option<Extent>,
    exhausted: bool,
}

impl<I> Segments<I> {
    /// Segments of `[from, size)` out of `extents`, which are in file order.
    pub fn new(extents: I, size: u64, from: u64) -> Segments<I> {
        Segments {
            extents,
            size,
            position: from,
            ahead: None,
            exhausted: false,
        }
    }

    fn emit(&mut self, end: u64, content: Content) -> Segment {
        let start = self.position;
        self.position = end;
        Segment {
            start,
            length: end - start,
            content,
        }
    }
}

impl<I, E> Iterator for Segments<I>
where
    I: Iterator<Item = Result<Extent, E>>,
{
    type Item = Result<Segment, E>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.position < self.size {
            let extent = match self.ahead.take() {
                Some(extent) => extent,
                None if self.exhausted => {
                    return Some(Ok(self.emit(self.size, Content::Zero)));
                }
                None => match self.extents.next() {
                    Some(Ok(extent)) => extent,
                    Some(Err(error)) => {
                        // Nothing after an error can be trusted to be complete.
                        self.position = self.size;
                        return Some(Err(error));
                    }
                    None => {
                        self.exhausted = true;
                        continue;
                    }
                },
            };
            if extent.logical > self.position {
                let end = extent.logical.min(self.size);
                self.ahead = Some(extent);
                return Some(Ok(self.emit(end, Content::Zero)));
            }
            let end = extent.logical.saturating_add(extent.length).min(self.size);
            if end <= self.position {
                continue;
            }
            // The first extent of a query may begin before what was asked for.
            let content = classify(&extent).advanced(self.position - extent.logical);
            return Some(Ok(self.emit(end, content)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(extents: &[Extent], size: u64, from: u64) -> Vec<Segment> {
        let source = extents.iter().copied().map(Ok::<_, ()>);
        Segments::new(source, size, from)
            .map(Result::unwrap)
            .collect()
    }

    fn extent(logical: u64, physical: u64, length: u64, flags: u32) -> Extent {
        Extent {
            logical,
            physical,
            length,
            flags,
        }
    }

    #[test]
    fn an_empty_map_is_one_hole() {
        assert_eq!(
            tile(&[], 100, 0),
            [Segment {
                start: 0,
                length: 100,
                content: Content::Zero
            }]
        );
        assert_eq!(tile(&[], 0, 0), []);
    }

    #[test]
    fn an_extent_past_the_end_is_clipped() {
        let got = tile(&[extent(0, 4096, 8192, flags::LAST)], 5000, 0);
        assert_eq!(
            got,
            [Segment {
                start: 0,
                length: 5000,
                content: Content::Data(4096)
            }]
        );
        assert_eq!(tile(&[extent(8192, 4096, 4096, 0)], 8192, 0).len(), 1);
    }

    #[test]
    fn a_first_extent_that_begins_early_keeps_its_addresses() {
        let got = tile(&[extent(0, 1 << 20, 1 << 16, 0)], 1 << 16, 4096);
        assert_eq!(
            got,
            [Segment {
                start: 4096,
                length: (1 << 16) - 4096,
                content: Content::Data((1 << 20) + 4096)
            }]
        );
    }

    #[test]
    fn flags_decide_what_the_bytes_are() {
        let content =
            |flags, physical| tile(&[extent(0, physical, 4096, flags)], 4096, 0)[0].content;
        assert_eq!(content(flags::UNWRITTEN, 9), Content::Zero);
        assert_eq!(content(flags::UNWRITTEN | flags::SHARED, 9), Content::Zero);
        assert_eq!(content(flags::SHARED | flags::MERGED, 9), Content::Data(9));
        for opaque in [
            flags::UNKNOWN,
            flags::DELALLOC,
            flags::ENCODED,
            flags::ENCRYPTED,
            flags::NOT_ALIGNED,
            flags::INLINE,
            flags::TAIL,
            0x4000,
            0x8000_0000,
            flags::UNWRITTEN | flags::DELALLOC,
        ] {
            assert_eq!(
                content(opaque | flags::LAST, 9),
                Content::Opaque,
                "{opaque:#x}"
            );
        }
        assert_eq!(content(0, 0), Content::Opaque, "no address at all");
        assert_eq!(
            content(0, u64::MAX - 5),
            Content::Opaque,
            "address overflows"
        );
    }

    #[test]
    fn overlapping_extents_of_a_torn_map_do_not_move_backwards() {
        let got = tile(
            &[
                extent(0, 4096, 8192, 0),
                extent(4096, 1 << 20, 4096, 0),
                extent(4096, 1 << 30, 8192, 0),
            ],
            16384,
            0,
        );
        let covered: u64 = got.iter().map(|segment| segment.length).sum();
        assert_eq!(covered, 16384);
        assert!(got.windows(2).all(|pair| pair[0].end() == pair[1].start));
    }

    #[test]
    fn an_error_ends_the_map() {
        let source = [Ok(extent(0, 4096, 4096, 0)), Err("EIO")];
        let got: Vec<_> = Segments::new(source.into_iter(), 1 << 20, 0).collect();
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], Err("EIO"));
    }
}
