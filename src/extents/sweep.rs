//! The comparison: one pass over two maps, side by side.

use super::{Content, Segment};

/// A stretch of the current snapshot that is not known to equal the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Where, and what the current snapshot holds there.
    pub segment: Segment,
    /// The maps prove nothing here: one of the two sides is opaque. Comparing bytes would tell.
    pub uncertain: bool,
}

/// A stretch in which neither map has a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where, and what the current snapshot holds there.
    pub now: Segment,
    /// What the base holds; None past its end.
    pub before: Option<Content>,
}

impl Piece {
    /// What of it has to be reported.
    ///
    /// A stretch is unchanged only where both are zero, or both are data at the same address.
    /// Data that became zero comes out as a zero segment: a replica must zero it, or it keeps
    /// stale bytes. So does what lies past the end of the base, zero or not: a replica that cannot
    /// shrink (a block device) may hold bytes there from before the disk was smaller.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let unchanged = match (self.before, self.now.content) {
            (Some(Content::Zero), Content::Zero) => true,
            (Some(Content::Data(then)), Content::Data(now)) => then == now,
            _ => false,
        };
        (!unchanged).then_some(Change {
            segment: self.now,
            uncertain: self.before == Some(Content::Opaque) || self.now.content == Content::Opaque,
        })
    }

    /// The part before `end`, which lies inside of it or after.
    #[must_use]
    pub fn until(self, end: u64) -> Piece {
        let length = self.now.length.min(end.saturating_sub(self.now.start));
        Piece {
            now: Segment { length, ..self.now },
            ..self
        }
    }
}

/// Goes over two maps side by side.
///
/// `current` tiles the current snapshot's `[from, size)`, and so do the pieces; `base` tiles the
/// base's from the same offset on. What lies past the end of `current` is not mentioned: its size
/// says that.
///
/// Linear in the number of segments, constant memory.
///
/// ```
/// use coriolis_ovm_exporter::extents::{Content, Segment, sweep};
///
/// let map = |content| [Ok::<_, std::io::Error>(Segment { start: 0, length: 4096, content })];
/// let mut pieces = sweep(map(Content::Data(8192)), map(Content::Zero));
/// let change = pieces.next().unwrap().unwrap().change().unwrap();
/// assert_eq!(change.segment.content, Content::Zero, "a hole was punched");
/// assert!(pieces.next().is_none());
/// let mut pieces = sweep(map(Content::Data(8192)), map(Content::Data(8192)));
/// assert!(pieces.next().unwrap().unwrap().change().is_none());
/// ```
pub fn sweep<B, C, E>(base: B, current: C) -> Sweep<B::IntoIter, C::IntoIter>
where
    B: IntoIterator<Item = Result<Segment, E>>,
    C: IntoIterator<Item = Result<Segment, E>>,
{
    Sweep {
        base: base.into_iter(),
        current: current.into_iter(),
        base_held: None,
        current_held: None,
        base_done: false,
    }
}

/// See [`sweep`].
#[derive(Debug)]
pub struct Sweep<B, C> {
    base: B,
    current: C,
    /// The part of a segment that the other side has not reached yet.
    base_held: Option<Segment>,
    current_held: Option<Segment>,
    base_done: bool,
}

impl<B, C, E> Iterator for Sweep<B, C>
where
    B: Iterator<Item = Result<Segment, E>>,
    C: Iterator<Item = Result<Segment, E>>,
{
    type Item = Result<Piece, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let current = match self.current_held.take() {
            Some(held) => held,
            None => match self.current.next()? {
                Ok(segment) => segment,
                Err(error) => return Some(Err(error)),
            },
        };
        let base = match self.base_at(current.start) {
            Ok(base) => base,
            Err(error) => return Some(Err(error)),
        };
        // None past the base's end: nothing equals that.
        let (before, reach) = match base {
            Some(base) => (
                Some(base.content.advanced(current.start - base.start)),
                base.end().min(current.end()),
            ),
            None => (None, current.end()),
        };
        let (now, rest) = split(current, reach);
        self.current_held = rest;
        Some(Ok(Piece { now, before }))
    }
}

impl<B, C, E> Sweep<B, C>
where
    B: Iterator<Item = Result<Segment, E>>,
{
    /// The base's segment that covers `offset`; None past its end.
    fn base_at(&mut self, offset: u64) -> Result<Option<Segment>, E> {
        while !self.base_done && self.base_held.is_none_or(|held| held.end() <= offset) {
            match self.base.next().transpose()? {
                Some(segment) => self.base_held = Some(segment),
                None => {
                    self.base_done = true;
                    self.base_held = None;
                }
            }
        }
        Ok(self.base_held)
    }
}

/// Cuts a segment at `at`, which lies inside it or at its end.
fn split(segment: Segment, at: u64) -> (Segment, Option<Segment>) {
    let head = Segment {
        length: at - segment.start,
        ..segment
    };
    let tail = (at < segment.end()).then(|| Segment {
        start: at,
        length: segment.end() - at,
        content: segment.content.advanced(head.length),
    });
    (head, tail)
}
