//! A disk in so many equal parts, and how much of what is in each. Pure arithmetic.

use crate::protocol::{ChangeKind, ChangedRange};

/// Bytes of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    pub size: u64,
    /// Hold data.
    pub data: u64,
    /// Hold data that changed.
    pub changed: u64,
    /// Became zero.
    pub cleared: u64,
}

/// What a part is shown as: whatever is rarer wins, so that no change is out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Zero,
    Data,
    Cleared,
    Changed,
}

impl Bucket {
    pub fn sort(&self) -> Sort {
        if self.changed > 0 {
            Sort::Changed
        } else if self.cleared > 0 {
            Sort::Cleared
        } else if self.data > 0 {
            Sort::Data
        } else {
            Sort::Zero
        }
    }

    /// How full of what it is shown as, in quarters: 1 to 4. Anything is at least one.
    pub fn quarters(&self) -> u8 {
        let bytes = match self.sort() {
            Sort::Changed => self.changed,
            Sort::Cleared => self.cleared,
            Sort::Data => self.data,
            Sort::Zero => return 4,
        };
        let quarters = (u128::from(bytes) * 4).div_ceil(u128::from(self.size.max(1)));
        u8::try_from(quarters).unwrap_or(4).clamp(1, 4)
    }
}

/// A disk's parts, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    size: u64,
    buckets: Vec<Bucket>,
}

/// Whose ranges they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// All of the disk.
    Whole,
    /// What changed.
    Changes,
}

impl Buckets {
    /// At most so many parts, and none smaller than a block of 4 KiB.
    pub fn new(size: u64, count: usize) -> Buckets {
        let blocks = usize::try_from(size.div_ceil(4096)).unwrap_or(usize::MAX);
        let count = count.clamp(1, blocks.max(1));
        let mut buckets = Buckets {
            size,
            buckets: vec![Bucket::default(); count],
        };
        for at in 0..count {
            buckets.buckets[at].size = buckets.begin(at + 1) - buckets.begin(at);
        }
        buckets
    }

    /// Adds a range; what lies outside of the disk is ignored.
    pub fn take(&mut self, layer: Layer, range: &ChangedRange) {
        let end = range.start.saturating_add(range.length).min(self.size);
        let mut start = range.start;
        let mut at = self.place(start);
        while start < end {
            let here = end.min(self.begin(at + 1)) - start;
            let bucket = &mut self.buckets[at];
            match (layer, range.kind) {
                (Layer::Whole, ChangeKind::Data) => bucket.data += here,
                (Layer::Whole, ChangeKind::Zero) => {}
                (Layer::Changes, ChangeKind::Data) => bucket.changed += here,
                (Layer::Changes, ChangeKind::Zero) => bucket.cleared += here,
            }
            start += here;
            at += 1;
        }
    }

    pub fn parts(&self) -> &[Bucket] {
        &self.buckets
    }

    /// All parts together.
    pub fn sum(&self) -> Bucket {
        self.buckets
            .iter()
            .fold(Bucket::default(), |sum, one| Bucket {
                size: sum.size + one.size,
                data: sum.data + one.data,
                changed: sum.changed + one.changed,
                cleared: sum.cleared + one.cleared,
            })
    }

    /// Where a part begins; the one after the last, where the disk ends.
    fn begin(&self, at: usize) -> u64 {
        let begin = u128::from(self.size) * at as u128 / self.buckets.len() as u128;
        u64::try_from(begin).unwrap_or(self.size)
    }

    /// The part that an offset is in.
    fn place(&self, offset: u64) -> usize {
        let count = self.buckets.len();
        let guess = u128::from(offset) * count as u128 / u128::from(self.size.max(1));
        let mut at = usize::try_from(guess).unwrap_or(count).min(count - 1);
        // Both divisions cut off: the guess may be one too low.
        while at + 1 < count && self.begin(at + 1) <= offset {
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, length: u64, kind: ChangeKind) -> ChangedRange {
        ChangedRange {
            start,
            length,
            kind,
        }
    }

    #[test]
    fn a_range_is_shared_among_the_parts_that_it_touches() {
        let mut buckets = Buckets::new(4 << 20, 4);
        let data = range((1 << 20) - 4096, 4096 + (1 << 20) + 8192, ChangeKind::Data);
        buckets.take(Layer::Whole, &data);
        let found: Vec<u64> = buckets.parts().iter().map(|part| part.data).collect();
        assert_eq!(found, [4096, 1 << 20, 8192, 0]);
        let quarters: Vec<u8> = buckets.parts().iter().map(Bucket::quarters).collect();
        assert_eq!(quarters, [1, 4, 1, 4]);
    }

    #[test]
    fn a_small_change_is_seen_in_a_large_part() {
        let mut buckets = Buckets::new(1 << 40, 10);
        buckets.take(Layer::Whole, &range(0, 1 << 40, ChangeKind::Data));
        buckets.take(Layer::Changes, &range(4096, 4096, ChangeKind::Zero));
        assert_eq!(buckets.parts()[0].sort(), Sort::Cleared);
        buckets.take(Layer::Changes, &range(8192, 4096, ChangeKind::Data));
        assert_eq!(buckets.parts()[0].sort(), Sort::Changed);
        assert_eq!(buckets.parts()[1].sort(), Sort::Data);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for size in [0, 1, 4095, 4097, u64::MAX] {
            let mut buckets = Buckets::new(size, 7);
            buckets.take(Layer::Changes, &range(0, u64::MAX, ChangeKind::Data));
            buckets.take(Layer::Whole, &range(u64::MAX, u64::MAX, ChangeKind::Data));
            let sum = buckets.sum();
            assert_eq!((sum.size, sum.changed, sum.data), (size, size, 0));
        }
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_counted_twice(
            size in 1_u64..10_000_000,
            count in 1_usize..200,
            start in 0_u64..10_000_000,
            length in 1_u64..10_000_000,
        ) {
            let mut buckets = Buckets::new(size, count);
            buckets.take(Layer::Whole, &range(start, length, ChangeKind::Data));
            let sum = buckets.sum();
            prop_assert_eq!(sum.size, size);
            prop_assert_eq!(sum.data, (start + length).min(size).saturating_sub(start));
            for part in buckets.parts() {
                prop_assert!(part.data <= part.size);
            }
        }
    }
}
