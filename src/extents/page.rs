//! A comparison in pages: a stretch of both maps, read twice, and right by itself.
//!
//! The bytes of a snapshot never change, only the places that hold them. So each page that was
//! verified says something that stays true, whatever moves later, and pages of different moments
//! together are a comparison of the whole.

use super::{Change, Fingerprint, Fingerprinting, Piece, Segment, sweep};

/// Where a page ends, if the disk does not end before.
#[derive(Debug, Clone, Copy)]
pub struct PageLimit {
    /// After so many changes: they are kept in memory.
    pub changes: usize,
    /// After so many pieces, changed or not: each is read twice, and all again when one moves.
    pub pieces: usize,
    /// After the piece that reaches this offset: nobody asks for what follows.
    pub reach: u64,
}

/// What one reading of a stretch of both maps says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What is not known to equal the base, in order.
    pub changes: Vec<Change>,
    /// The stretch ends here; where it begins, nothing is missing.
    pub end: u64,
    base: Fingerprint,
    current: Fingerprint,
}

impl Page {
    /// Reads both maps, which begin at `start`, until the page is full.
    ///
    /// # Errors
    /// The first error of either map.
    pub fn read<E>(
        start: u64,
        base: impl IntoIterator<Item = Result<Segment, E>>,
        current: impl IntoIterator<Item = Result<Segment, E>>,
        limit: PageLimit,
    ) -> Result<Page, E> {
        let mut prints = Prints::default();
        let (mut changes, mut end) = (Vec::new(), start);
        for piece in sweep(base, current).take(limit.pieces.max(1)) {
            let piece = piece?;
            prints.push(&piece);
            end = piece.now.end();
            changes.extend(piece.change());
            if changes.len() >= limit.changes.max(1) || end >= limit.reach {
                break;
            }
        }
        let (base, current) = prints.finish();
        Ok(Page {
            changes,
            end,
            base,
            current,
        })
    }

    /// Whether another reading of both maps, which begin where the page does, says the same.
    ///
    /// # Errors
    /// The first error of either map.
    pub fn holds<E>(
        &self,
        base: impl IntoIterator<Item = Result<Segment, E>>,
        current: impl IntoIterator<Item = Result<Segment, E>>,
    ) -> Result<bool, E> {
        let mut prints = Prints::default();
        for piece in sweep(base, current) {
            let piece = piece?;
            if piece.now.start >= self.end {
                break;
            }
            prints.push(&piece.until(self.end));
            if piece.now.end() >= self.end {
                break;
            }
        }
        Ok(prints.finish() == (self.base, self.current))
    }
}

/// Digests of both maps, as far as they have been read.
#[derive(Debug, Default)]
struct Prints {
    base: Fingerprinting,
    current: Fingerprinting,
}

impl Prints {
    fn push(&mut self, piece: &Piece) {
        self.current.push(piece.now);
        if let Some(content) = piece.before {
            self.base.push(Segment {
                content,
                ..piece.now
            });
        }
    }

    fn finish(self) -> (Fingerprint, Fingerprint) {
        (self.base.finish(), self.current.finish())
    }
}

/// Reads pages until one holds, at most `attempts` of them: the last one, and whether it held.
///
/// `maps` opens both maps at `start`, base first, for one reading. All of the first reading is
/// done before anything of the second begins.
///
/// # Errors
/// The first error of either map.
pub fn verified<B, C, E>(
    start: u64,
    limit: PageLimit,
    attempts: usize,
    mut maps: impl FnMut() -> (B, C),
) -> Result<(Page, bool), E>
where
    B: IntoIterator<Item = Result<Segment, E>>,
    C: IntoIterator<Item = Result<Segment, E>>,
{
    let mut attempt = 1;
    loop {
        let (base, current) = maps();
        let page = Page::read(start, base, current, limit)?;
        let (base, current) = maps();
        let held = page.holds(base, current)?;
        if held || attempt >= attempts {
            return Ok((page, held));
        }
        attempt += 1;
    }
}
