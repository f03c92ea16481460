//! Fetching many small ranges with few large reads.
//!
//! A read costs much by itself and little by its length: what lies between two ranges that are
//! near each other is read along and thrown away.

use std::collections::VecDeque;

use super::{Range, RangeKind};

/// Bytes that are read along at most, between two ranges.
const GAP: u64 = 64 << 10;
/// Reads take their first and last block whole: where memory is needed for it.
const BLOCK: u64 = 4096;
/// Reads at once, at most.
const READS: usize = 256;

/// A stretch of the disk that is read in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset on the disk, bytes.
    pub start: u64,
    /// Bytes, never 0.
    pub length: u64,
}

impl Span {
    /// First byte after it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Bytes of memory that a read of whole blocks needs for it.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.end().next_multiple_of(BLOCK) - self.start / BLOCK * BLOCK
    }
}

/// What becomes of a range, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// These bytes are in the read of that number.
    Data(Span, usize),
    /// There is nothing to read.
    Zero(Span),
}

/// Reads that are made together, in memory that they share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetches {
    /// What is read, in order.
    pub reads: Vec<Span>,
    /// What the reads are for, in order.
    pub parts: Vec<Fetch>,
}

impl Fetches {
    /// Takes ranges from the front, until the reads for them fill `step` bytes of memory: a power of
    /// two, at multiples of which reads end, and not less than a block.
    #[must_use]
    pub fn take(ranges: &mut VecDeque<Range>, step: u64) -> Fetches {
        let mut fetches = Fetches::default();
        let most = step;
        let mut room = step;
        while let Some(range) = ranges.front_mut() {
            if range.kind == RangeKind::Zero {
                let span = Span {
                    start: range.start,
                    length: range.length,
                };
                fetches.parts.push(Fetch::Zero(span));
                ranges.pop_front();
                continue;
            }
            let step = (most - range.start % most).min(range.length);
            let Some(cost) = fetches.join(range.start, step, room, most) else {
                break;
            };
            room -= cost;
            let span = Span {
                start: range.start,
                length: step,
            };
            fetches
                .parts
                .push(Fetch::Data(span, fetches.reads.len() - 1));
            range.start += step;
            range.length -= step;
            if range.length == 0 {
                ranges.pop_front();
            }
        }
        fetches
    }

    /// Bytes of memory that all reads need.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.reads.iter().map(Span::room).sum()
    }

    /// Makes the last read longer, or begins another: what that takes of the room. None where
    /// there is not enough.
    fn join(&mut self, start: u64, length: u64, room: u64, most: u64) -> Option<u64> {
        let full = self.reads.len() >= READS;
        if let Some(last) = self.reads.last_mut() {
            let longer = Span {
                length: start + length - last.start,
                ..*last
            };
            let near = start - last.end() <= GAP && start / most == last.start / most;
            let cost = longer.room() - last.room();
            if near && cost <= room {
                *last = longer;
                return Some(cost);
            }
        }
        let read = Span { start, length };
        if full || read.room() > room {
            return None;
        }
        self.reads.push(read);
        Some(read.room())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, length: u64, kind: RangeKind) -> Range {
        Range {
            start,
            length,
            kind,
            physical_start: 0,
        }
    }

    #[test]
    fn neighbours_are_fetched_together() {
        let mut ranges: VecDeque<Range> = (0..100)
            .map(|at| range(at * 10_000, 4096, RangeKind::Data))
            .collect();
        ranges.push_back(range(10 << 20, 4096, RangeKind::Data));
        let fetches = Fetches::take(&mut ranges, 1 << 20);
        assert_eq!(fetches.parts.len(), 101);
        assert_eq!(fetches.reads.len(), 2, "{:?}", fetches.reads);
        assert!(ranges.is_empty());
    }

    proptest! {
        #[test]
        fn every_byte_is_fetched_once_in_order(
            pieces in prop::collection::vec(
                (
                    prop_oneof![0_u64..10_000, 0_u64..3_000_000],
                    prop_oneof![1_u64..10_000, 1_u64..3_000_000],
                    any::<bool>(),
                ),
                0..60,
            ),
            step in prop_oneof![Just(64_u64 << 10), Just(512 << 10), Just(1 << 20)],
        ) {
            let mut at = 0;
            let ranges: Vec<Range> = pieces
                .into_iter()
                .map(|(gap, length, zero)| {
                    let kind = if zero { RangeKind::Zero } else { RangeKind::Data };
                    let range = range(at + gap, length, kind);
                    at = range.end();
                    range
                })
                .collect();
            let mut left: VecDeque<Range> = ranges.iter().copied().collect();
            let mut got: Vec<Range> = Vec::new();
            while !left.is_empty() {
                let fetches = Fetches::take(&mut left, step);
                prop_assert!(!fetches.parts.is_empty(), "no progress");
                let memory = fetches.room();
                prop_assert!(memory <= step, "{memory} bytes at once");
                prop_assert!(fetches.reads.len() <= READS);
                for part in fetches.parts {
                    let (span, kind) = match part {
                        Fetch::Zero(span) => (span, RangeKind::Zero),
                        Fetch::Data(span, read) => {
                            let read = fetches.reads[read];
                            prop_assert!(read.start <= span.start && span.end() <= read.end());
                            (span, RangeKind::Data)
                        }
                    };
                    match got.last_mut() {
                        // Put together again what a step has cut.
                        Some(last)
                            if last.end() == span.start
                                && last.kind == kind
                                && !ranges.iter().any(|range| range.start == span.start) =>
                        {
                            last.length += span.length;
                        }
                        _ => got.push(range(span.start, span.length, kind)),
                    }
                }
            }
            prop_assert_eq!(got, ranges);
        }
    }
}
