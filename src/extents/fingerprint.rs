//! Seeing that a map held still, without keeping it.

use sha2::{Digest, Sha256};

use super::{Content, Merge, Segment};

/// Digest of a map's merged form. Two readings of a map that held still have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Digests a map's segments, one by one.
#[derive(Debug, Default)]
pub struct Fingerprinting {
    merge: Merge,
    digest: Sha256,
}

impl Fingerprinting {
    /// The next segment.
    pub fn push(&mut self, segment: Segment) {
        if let Some(complete) = self.merge.push(segment) {
            update(&mut self.digest, complete);
        }
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let Fingerprinting { merge, mut digest } = self;
        if let Some(last) = merge.finish() {
            update(&mut digest, last);
        }
        Fingerprint(digest.finalize().into())
    }
}

fn update(digest: &mut Sha256, segment: Segment) {
    let (kind, physical) = match segment.content {
        Content::Zero => (0, 0),
        Content::Data(physical) => (1, physical),
        Content::Opaque => (2, 0),
    };
    for number in [segment.start, segment.length, kind, physical] {
        digest.update(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(segments: &[(u64, u64, Content)]) -> Fingerprint {
        let mut fingerprinting = Fingerprinting::default();
        for &(start, length, content) in segments {
            fingerprinting.push(Segment {
                start,
                length,
                content,
            });
        }
        fingerprinting.finish()
    }

    #[test]
    fn splitting_an_extent_changes_nothing_and_moving_it_does() {
        use Content::{Data, Opaque, Zero};
        let whole = of(&[(0, 20, Data(100)), (20, 10, Zero)]);
        assert_eq!(
            whole,
            of(&[(0, 5, Data(100)), (5, 15, Data(105)), (20, 10, Zero)])
        );
        assert_ne!(whole, of(&[(0, 20, Data(101)), (20, 10, Zero)]));
        assert_ne!(whole, of(&[(0, 20, Data(100)), (20, 10, Opaque)]));
        assert_ne!(whole, of(&[(0, 19, Data(100)), (19, 11, Zero)]));
    }
}
