//! Seeing that a map held still, without keeping it.

use sha2::{Digest, Sha256};

use super::{Content, Merge, Segment, merge};

/// Digest of a map's merged form. Two readings of a map that held still have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads a map to its end. For a second reading, of which nothing else is wanted.
    ///
    /// # Errors
    /// The source's first error.
    pub fn of<E>(segments: impl IntoIterator<Item = Result<Segment, E>>) -> Result<Fingerprint, E> {
        let mut reading = Fingerprinting::new(segments.into_iter());
        for segment in reading.by_ref() {
            segment?;
        }
        Ok(reading.fingerprint())
    }
}

/// Passes a map on in its merged form and digests it on the way.
#[derive(Debug)]
pub struct Fingerprinting<I> {
    merged: Merge<I>,
    digest: Sha256,
}

impl<I> Fingerprinting<I> {
    /// Digests what passes, beginning here.
    pub fn new<E>(segments: I) -> Fingerprinting<I>
    where
        I: Iterator<Item = Result<Segment, E>>,
    {
        Fingerprinting {
            merged: merge(segments),
            digest: Sha256::new(),
        }
    }

    /// The digest of what has passed.
    pub fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.digest.finalize().into())
    }
}

impl<I, E> Iterator for Fingerprinting<I>
where
    I: Iterator<Item = Result<Segment, E>>,
{
    type Item = Result<Segment, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.merged.next();
        if let Some(Ok(segment)) = &item {
            let (kind, physical) = match segment.content {
                Content::Zero => (0, 0),
                Content::Data(physical) => (1, physical),
                Content::Opaque => (2, 0),
            };
            for number in [segment.start, segment.length, kind, physical] {
                self.digest.update(number.to_le_bytes());
            }
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(segments: &[(u64, u64, Content)]) -> Fingerprint {
        Fingerprint::of(segments.iter().map(|&(start, length, content)| {
            Ok::<_, ()>(Segment {
                start,
                length,
                content,
            })
        }))
        .unwrap()
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
