//! The normal form of a map.

use super::{Content, Segment};

/// Joins neighbouring segments that say the same: zero with zero, opaque with opaque, data with
/// data that follows it on the device. Segments go in one by one, and come out when what follows
/// them does not belong to them.
///
/// A file system may split or join extents at will; the merged form is the same for every way to
/// write one and the same map.
#[derive(Debug, Default)]
pub struct Merge {
    held: Option<Segment>,
}

impl Merge {
    /// The next segment of a map; gives one that is complete.
    pub fn push(&mut self, segment: Segment) -> Option<Segment> {
        match &mut self.held {
            Some(held) if follows(held, &segment) => {
                held.length += segment.length;
                None
            }
            held => held.replace(segment),
        }
    }

    /// The last one.
    #[must_use]
    pub fn finish(self) -> Option<Segment> {
        self.held
    }
}

fn follows(first: &Segment, second: &Segment) -> bool {
    first.end() == second.start
        && match (first.content.advanced(first.length), second.content) {
            (Content::Data(expected), Content::Data(found)) => expected == found,
            (before, after) => before == after,
        }
}

/// All of a map, merged.
#[cfg(test)]
pub(super) fn merged(segments: impl IntoIterator<Item = Segment>) -> Vec<Segment> {
    let mut merge = Merge::default();
    let mut all: Vec<Segment> = segments
        .into_iter()
        .filter_map(|segment| merge.push(segment))
        .collect();
    all.extend(merge.finish());
    all
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

    #[test]
    fn only_what_says_the_same_is_joined() {
        use Content::{Data, Opaque, Zero};
        assert_eq!(
            merged([
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
        assert_eq!(merged(apart), apart);
    }
}
