//! Zeros inside of data.

use std::ops::Range;

/// Zeros are looked for in blocks of this size, at multiples of it on the disk.
pub const BLOCK: usize = 4096;

/// A stretch of bytes that are all zero, or not to be split further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where in the bytes that were given.
    pub place: Range<usize>,
    /// Whether all of it is zero.
    pub is_zero: bool,
}

/// Splits bytes that lie at `offset` on a disk into runs of zero blocks and of others.
///
/// ```
/// use coriolis_ovm_exporter::protocol::delta::runs;
///
/// let mut bytes = vec![0; 12_288];
/// bytes[5000] = 1;
/// let places: Vec<_> = runs(4096, &bytes).map(|run| (run.place, run.is_zero)).collect();
/// assert_eq!(places, [(0..4096, true), (4096..8192, false), (8192..12_288, true)]);
/// ```
#[must_use]
pub fn runs(offset: u64, bytes: &[u8]) -> Runs<'_> {
    Runs {
        // The first block may be shorter.
        lead: BLOCK - usize::try_from(offset % BLOCK as u64).unwrap_or(0),
        bytes,
        at: 0,
    }
}

/// See [`runs`].
#[derive(Debug)]
pub struct Runs<'b> {
    lead: usize,
    bytes: &'b [u8],
    at: usize,
}

impl Runs<'_> {
    /// Where the block that begins at `at` ends.
    fn block_end(&self, at: usize) -> usize {
        let end = if at < self.lead {
            self.lead
        } else {
            at + BLOCK
        };
        end.min(self.bytes.len())
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let start = self.at;
        if start == self.bytes.len() {
            return None;
        }
        let mut end = self.block_end(start);
        let is_zero = all_zero(&self.bytes[start..end]);
        while end < self.bytes.len() {
            let next = self.block_end(end);
            if all_zero(&self.bytes[end..next]) != is_zero {
                break;
            }
            end = next;
        }
        self.at = end;
        Some(Run {
            place: start..end,
            is_zero,
        })
    }
}

fn all_zero(bytes: &[u8]) -> bool {
    // In one expression without an early exit the compiler uses wide registers.
    bytes
        .chunks(256)
        .all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == 0)
}
