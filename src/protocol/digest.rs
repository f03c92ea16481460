//! Digests of a disk's plain bytes: the same code on the daemon's side and on the replica's.

use sha2::Digest as _;

const ZEROS: &[u8] = &[0; 64 << 10];

/// Digests of blocks in one answer, at most: both sides have them in memory. A request with a block
/// size that makes more is refused.
pub const MAX_DIGESTS: u64 = 1 << 18;

/// How to digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// BLAKE3, 256 bits.
    Blake3,
    /// XXH3, 128 bits: against accidents only.
    Xxh3,
}

impl Algorithm {
    const NAMES: [(Algorithm, &str); 3] = [
        (Algorithm::Sha256, "sha256"),
        (Algorithm::Blake3, "blake3"),
        (Algorithm::Xxh3, "xxh3"),
    ];

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Algorithm::NAMES.iter().map(|(_, name)| *name)
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Algorithm> {
        let mut names = Algorithm::NAMES.iter();
        names.find(|(_, known)| *known == name).map(|(one, _)| *one)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let mut names = Algorithm::NAMES.iter();
        names
            .find(|(one, _)| *one == self)
            .map_or("", |(_, name)| name)
    }
}

/// What came out, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// Of each block; none where no block size was given.
    pub blocks: Vec<String>,
    /// Of all bytes.
    pub whole: String,
}

/// A digest in the making.
enum Hasher {
    Sha256(Box<sha2::Sha256>),
    Blake3(Box<blake3::Hasher>),
    Xxh3(Box<xxhash_rust::xxh3::Xxh3>),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Box::default()),
            Algorithm::Blake3 => Hasher::Blake3(Box::default()),
            Algorithm::Xxh3 => Hasher::Xxh3(Box::default()),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Hasher::Xxh3(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hasher::Sha256(hasher) => {
                use std::fmt::Write as _;
                hasher
                    .finalize()
                    .iter()
                    .fold(String::with_capacity(64), |mut text, byte| {
                        let _ = write!(text, "{byte:02x}");
                        text
                    })
            }
            Hasher::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
            Hasher::Xxh3(hasher) => format!("{:032x}", hasher.digest128()),
        }
    }
}

/// Digests of blocks and of the whole, from bytes that come in pieces of any size, in order.
///
/// ```
/// use coriolis_ovm_exporter::protocol::digest::{Algorithm, BlockDigests};
///
/// let mut digests = BlockDigests::new(Algorithm::Sha256, None);
/// digests.take(b"a");
/// digests.take(b"bc");
/// assert!(digests.finish().whole.starts_with("ba7816bf"));
/// ```
pub struct BlockDigests {
    algorithm: Algorithm,
    whole: Hasher,
    /// Size of a block, and the one in the making with what it still lacks.
    block: Option<(u64, Hasher, u64)>,
    done: Vec<String>,
}

impl BlockDigests {
    /// `block` is the size of a block in bytes, at least 1; None for the whole alone.
    #[must_use]
    pub fn new(algorithm: Algorithm, block: Option<u64>) -> BlockDigests {
        BlockDigests {
            algorithm,
            whole: Hasher::new(algorithm),
            block: block
                .map(|size| size.max(1))
                .map(|size| (size, Hasher::new(algorithm), size)),
            done: Vec::new(),
        }
    }

    /// The next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.whole.take(bytes);
        let Some((size, hasher, lacking)) = &mut self.block else {
            return;
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = usize::try_from(*lacking).unwrap_or(usize::MAX);
            let (head, tail) = rest.split_at(room.min(rest.len()));
            hasher.take(head);
            *lacking -= head.len() as u64;
            rest = tail;
            if *lacking == 0 {
                let full = std::mem::replace(hasher, Hasher::new(self.algorithm));
                self.done.push(full.finish());
                *lacking = *size;
            }
        }
    }

    /// So many zeros come next.
    pub fn take_zeros(&mut self, mut length: u64) {
        while length > 0 {
            let step = length.min(ZEROS.len() as u64);
            self.take(&ZEROS[..usize::try_from(step).unwrap_or(0)]);
            length -= step;
        }
    }

    /// There are no more.
    #[must_use]
    pub fn finish(mut self) -> Digests {
        if let Some((size, hasher, lacking)) = self.block
            && lacking < size
        {
            self.done.push(hasher.finish());
        }
        Digests {
            blocks: self.done,
            whole: self.whole.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the empty text and of `abc`, as each algorithm's authors publish them.
    #[test]
    fn known_answers() {
        let of = |algorithm, bytes: &[u8]| {
            let mut blocks = BlockDigests::new(algorithm, None);
            blocks.take(bytes);
            blocks.finish().whole
        };
        assert_eq!(
            of(Algorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            of(Algorithm::Blake3, b""),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(of(Algorithm::Xxh3, b""), "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn blocks_are_cut_where_they_end() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Blake3, Algorithm::Xxh3] {
            let one = |bytes: &[u8]| {
                let mut hasher = Hasher::new(algorithm);
                hasher.take(bytes);
                hasher.finish()
            };
            for (block, step) in [(4096, 10_000), (4096, 1000), (5000, 4096), (20_000, 3)] {
                let mut blocks = BlockDigests::new(algorithm, Some(block));
                bytes.chunks(step).for_each(|bytes| blocks.take(bytes));
                let found = blocks.finish();
                let block = usize::try_from(block).unwrap();
                let expected: Vec<String> = bytes.chunks(block).map(one).collect();
                assert_eq!(found.blocks, expected);
                assert_eq!(found.whole, one(&bytes));
            }
        }
    }
}
