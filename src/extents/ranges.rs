//! What goes into an answer: ranges of a disk that a replica must write or zero.

use super::{Content, Segment};

/// What a replica does with a [`Range`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeKind {
    /// Fetch the bytes and write them.
    Data,
    /// Write or punch zeros.
    Zero,
}

/// A stretch of a snapshot's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Offset in the disk, bytes.
    pub start: u64,
    /// Bytes, never 0.
    pub length: u64,
    /// Data or zeros.
    pub kind: RangeKind,
    /// Where the first byte lies on the device; 0 for zeros and where the map does not tell.
    pub physical_start: u64,
}

impl Range {
    /// First byte after the range.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

impl From<Segment> for Range {
    fn from(segment: Segment) -> Range {
        let (kind, physical_start) = match segment.content {
            Content::Zero => (RangeKind::Zero, 0),
            Content::Data(physical) => (RangeKind::Data, physical),
            Content::Opaque => (RangeKind::Data, 0),
        };
        Range {
            start: segment.start,
            length: segment.length,
            kind,
            physical_start,
        }
    }
}

/// Joins neighbours of one kind, wherever they lie on the device. The first one's
/// `physical_start` stays.
#[must_use]
pub fn squash(ranges: Vec<Range>) -> Vec<Range> {
    let mut squashed: Vec<Range> = Vec::new();
    for range in ranges {
        match squashed.last_mut() {
            Some(last) if last.end() == range.start && last.kind == range.kind => {
                last.length += range.length;
            }
            _ => squashed.push(range),
        }
    }
    squashed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_joined() {
        let range = |start, kind, physical_start| Range {
            start,
            length: 10,
            kind,
            physical_start,
        };
        let squashed = squash(vec![
            range(0, RangeKind::Data, 500),
            range(10, RangeKind::Data, 100),
            range(20, RangeKind::Zero, 0),
            range(40, RangeKind::Zero, 0),
        ]);
        assert_eq!(
            squashed
                .iter()
                .map(|range| (range.start, range.length, range.physical_start))
                .collect::<Vec<_>>(),
            [(0, 20, 500), (20, 10, 0), (40, 10, 0)]
        );
    }
}
