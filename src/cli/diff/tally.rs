use std::cmp::Reverse;

use crate::protocol::{ChangeKind, ChangedRange};

/// Counts ranges, and remembers the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub ranges: u64,
    /// Bytes to fetch.
    pub data: u64,
    /// Bytes that became zero.
    pub zeros: u64,
    /// How many to remember.
    limit: usize,
    /// Largest first; among equals, the first on the disk.
    largest: Vec<ChangedRange>,
}

impl Tally {
    pub fn new(limit: usize) -> Tally {
        Tally {
            ranges: 0,
            data: 0,
            zeros: 0,
            limit,
            largest: Vec::new(),
        }
    }

    /// Takes the next range of the disk.
    pub fn take(&mut self, range: ChangedRange) {
        self.ranges += 1;
        match range.kind {
            ChangeKind::Data => self.data += range.length,
            ChangeKind::Zero => self.zeros += range.length,
        }
        let rank = Reverse(range.length);
        let at = self
            .largest
            .partition_point(|larger| Reverse(larger.length) <= rank);
        if at < self.limit {
            self.largest.insert(at, range);
            self.largest.truncate(self.limit);
        }
    }

    pub fn largest(&self) -> &[ChangedRange] {
        &self.largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(limit: usize, ranges: &[(u64, u64, ChangeKind)]) -> Tally {
        let mut tally = Tally::new(limit);
        for &(start, length, kind) in ranges {
            tally.take(ChangedRange {
                start,
                length,
                kind,
            });
        }
        tally
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        use ChangeKind::{Data, Zero};
        let all = [
            (0, 5, Data),
            (10, 9, Zero),
            (20, 9, Data),
            (30, 1, Data),
            (40, 7, Zero),
        ];
        let found = tally(3, &all);
        assert_eq!((found.ranges, found.data, found.zeros), (5, 15, 16));
        let starts: Vec<u64> = found.largest().iter().map(|range| range.start).collect();
        assert_eq!(starts, [10, 20, 40]);
        assert_eq!(tally(0, &all).largest(), []);
        assert_eq!(tally(9, &all).largest().len(), 5);
    }
}
