//! Small writes that follow upon each other become chunks. No I/O.

use std::collections::VecDeque;
use std::ops::Range;

/// Bytes that go to one place of the device together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl Chunk {
    fn at(offset: u64) -> Chunk {
        Chunk {
            offset,
            bytes: Vec::new(),
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }
}

pub(super) fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Chunks that may still grow. What it gives back is to be sent, in that order.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Bytes of a chunk that is whole.
    chunk: usize,
    /// So many may grow at the same time: streams write to different places in turn.
    most: usize,
    /// Those that were written to most recently come last.
    open: VecDeque<Chunk>,
}

impl Gathering {
    pub(super) fn new(chunk: usize, most: usize) -> Gathering {
        Gathering {
            chunk,
            most,
            open: VecDeque::new(),
        }
    }

    /// Adds bytes at an offset. What overlaps with them has to be taken before.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) -> Vec<Chunk> {
        let mut ready = Vec::new();
        let before = self.open.iter().position(|open| open.range().end == offset);
        let before = before.and_then(|at| self.open.remove(at));
        let mut growing = before.unwrap_or_else(|| Chunk::at(offset));
        let mut left = bytes;
        while !left.is_empty() {
            let room = self.chunk - growing.bytes.len();
            let (now, later) = left.split_at(room.min(left.len()));
            growing.bytes.extend_from_slice(now);
            left = later;
            if growing.bytes.len() == self.chunk {
                let next = Chunk::at(growing.range().end);
                ready.push(std::mem::replace(&mut growing, next));
            }
        }
        if !growing.bytes.is_empty() {
            self.open.push_back(growing);
        }
        if self.open.len() > self.most {
            ready.extend(self.open.pop_front());
        }
        ready
    }

    /// Those that have any byte of this range.
    pub(super) fn take(&mut self, range: &Range<u64>) -> Vec<Chunk> {
        let (taken, left) = self
            .open
            .drain(..)
            .partition(|open| overlap(&open.range(), range));
        self.open = left;
        Vec::from(taken)
    }

    /// All of them.
    pub(super) fn take_all(&mut self) -> Vec<Chunk> {
        self.open.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
        Chunk {
            offset,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn what_follows_becomes_one() {
        let mut gathering = Gathering::new(4, 2);
        assert_eq!(gathering.add(10, b"ab"), []);
        assert_eq!(gathering.add(100, b"x"), []);
        assert_eq!(gathering.add(12, b"c"), []);
        assert_eq!(
            gathering.add(13, b"defghi"),
            [chunk(10, b"abcd"), chunk(14, b"efgh")]
        );
        // A third place: the one that was longest ago goes.
        assert_eq!(gathering.add(200, b"y"), [chunk(100, b"x")]);
        assert_eq!(gathering.add(17, b""), []);
        assert_eq!(gathering.take_all(), [chunk(18, b"i"), chunk(200, b"y")]);
        assert_eq!(gathering.take_all(), []);
    }

    #[test]
    fn what_is_replaced_is_taken_before() {
        let mut gathering = Gathering::new(100, 4);
        gathering.add(0, b"aaaa");
        gathering.add(10, b"bbbb");
        assert_eq!(gathering.take(&(4..10)), []);
        assert_eq!(gathering.take(&(2..4)), [chunk(0, b"aaaa")]);
        assert_eq!(gathering.take(&(12..13)), [chunk(10, b"bbbb")]);
        assert_eq!(gathering.take_all(), []);
    }

    #[test]
    fn any_writes_give_the_bytes_that_they_are() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (mut expected, mut found) = (vec![0; 2000], vec![0; 2000]);
        let mut gathering = Gathering::new(64, 3);
        let mut at = 0;
        let apply = |found: &mut Vec<u8>, chunks: Vec<Chunk>| {
            for chunk in chunks {
                assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= 64);
                let start = usize::try_from(chunk.offset).unwrap();
                found[start..start + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
            }
        };
        for _ in 0..500 {
            if random.random_bool(0.4) {
                at = random.random_range(0..1900);
            }
            let bytes = vec![random.random(); random.random_range(0..100)];
            let end = (at + bytes.len()).min(2000);
            let bytes = &bytes[..end - at];
            expected[at..end].copy_from_slice(bytes);
            let taken = gathering.take(&(at as u64..end as u64));
            apply(&mut found, taken);
            let chunks = gathering.add(at as u64, bytes);
            apply(&mut found, chunks);
            assert!(gathering.open.len() <= 3);
            at = end % 1900;
        }
        let chunks = gathering.take_all();
        apply(&mut found, chunks);
        assert!(found == expected, "seed {seed}");
    }
}
