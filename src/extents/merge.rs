//! The normal form of a map.

use super::{Content, Segment};

/// Joins neighbouring segments that say the same: zero with zero, opaque with opaque, data with
/// data that follows it on the device.
///
/// A file system may split or join extents at will; the merged form is the same for every way to
/// write one and the same map.
pub fn merge<I, E>(segments: I) -> Merge<I::IntoIter>
where
    I: IntoIterator<Item = Result<Segment, E>>,
{
    Merge {
        segments: segments.into_iter(),
        held: None,
    }
}

/// See [`merge`].
#[derive(Debug)]
pub struct Merge<I> {
    segments: I,
    held: Option<Segment>,
}

impl<I, E> Iterator for Merge<I>
where
    I: Iterator<Item = Result<Segment, E>>,
{
    type Item = Result<Segment, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match (self.segments.next(), &mut self.held) {
                (Some(Ok(segment)), Some(held)) if follows(held, &segment) => {
                    held.length += segment.length;
                }
                (Some(Ok(segment)), held) => {
                    if let Some(done) = held.replace(segment) {
                        return Some(Ok(done));
                    }
                }
                (Some(Err(error)), held) => {
                    *held = None;
                    return Some(Err(error));
                }
                (None, held) => return held.take().map(Ok),
            }
        }
    }
}

fn follows(first: &Segment, second: &Segment) -> bool {
    first.end() == second.start
        && match (first.content.advanced(first.length), second.content) {
            (Content::Data(expected), Content::Data(found)) => expected == found,
            (before, after) => before == after,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: u64, length: u64, content: Content) -> Segment {
        Segment {
            start,
            length,
            content,
        }
    }

    fn merged(segments: &[Segment]) -> Vec<Segment> {
        merge(segments.iter().copied().map(Ok::<_, ()>))
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn only_what_says_the_same_is_joined() {
        use Content::{Data, Opaque, Zero};
        assert_eq!(
            merged(&[
                segment(0, 10, Data(100)),
                segment(10, 10, Data(110)),
                segment(20, 10, Data(200)),
                segment(30, 5, Zero),
                segment(35, 5, Zero),
                segment(40, 5, Opaque),
                segment(45, 5, Opaque),
            ]),
            [
                segment(0, 20, Data(100)),
                segment(20, 10, Data(200)),
                segment(30, 10, Zero),
                segment(40, 10, Opaque),
            ]
        );
    }

    #[test]
    fn a_gap_keeps_two_ranges_apart() {
        let apart = [
            segment(0, 10, Content::Zero),
            segment(20, 10, Content::Zero),
        ];
        assert_eq!(merged(&apart), apart);
    }
}
