//! Which pieces of recovery are under way.
//!
//! Storage that hangs holds whoever touches it, for as long as it likes. So recovery is cut into pieces
//! by the repositories that they touch: one that hangs keeps no other from being done, is not begun a
//! second time, and is known by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A piece of recovery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Looking at all repositories for what there is.
    Looking,
    /// What lies on these repositories, and on all of them: by id.
    Tending(Vec<String>),
    /// Taking over what the first generation left.
    Adopting,
}

impl fmt::Display for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Looking => formatter.write_str("the look at all repositories"),
            Piece::Tending(repositories) if repositories.len() == 1 => {
                write!(formatter, "recovery in repository {}", repositories[0])
            }
            Piece::Tending(repositories) => {
                write!(
                    formatter,
                    "recovery in repositories {}",
                    repositories.join(", ")
                )
            }
            Piece::Adopting => formatter.write_str("adoption"),
        }
    }
}

/// The pieces that are under way.
#[derive(Debug, Default)]
pub struct Tending(Mutex<Pieces>);

#[derive(Debug, Default)]
struct Pieces {
    under_way: BTreeMap<Piece, Begun>,
    /// All that were ever tended, by id.
    repositories: BTreeSet<String>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    /// It has taken longer than it should.
    late: bool,
}

/// A piece at work: over when this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    tending: Arc<Tending>,
    piece: Piece,
}

impl Tending {
    /// Begins a piece. `None`: the last one of it has not ended.
    #[must_use]
    pub fn begin(self: &Arc<Self>, piece: Piece) -> Option<UnderWay> {
        let mut pieces = self.lock();
        if pieces.under_way.contains_key(&piece) {
            return None;
        }
        if let Piece::Tending(repositories) = &piece {
            pieces.repositories.extend(repositories.iter().cloned());
        }
        let (at, late) = (Instant::now(), false);
        pieces.under_way.insert(piece.clone(), Begun { at, late });
        Some(UnderWay {
            tending: self.clone(),
            piece,
        })
    }

    /// Notes that a piece takes longer than it should; false where it has just ended.
    pub fn is_late(&self, piece: &Piece) -> bool {
        let mut pieces = self.lock();
        let begun = pieces.under_way.get_mut(piece);
        begun.map(|begun| begun.late = true).is_some()
    }

    /// Every repository that was ever tended, by id, and whether it keeps recovery waiting now.
    #[must_use]
    pub fn repositories(&self) -> BTreeMap<String, bool> {
        let pieces = self.lock();
        let late = pieces.under_way.iter().filter(|(_, begun)| begun.late);
        let late: BTreeSet<&String> = late
            .flat_map(|(piece, _)| match piece {
                Piece::Tending(repositories) => repositories.as_slice(),
                Piece::Looking | Piece::Adopting => &[],
            })
            .collect();
        let all = pieces.repositories.iter();
        all.map(|id| (id.clone(), late.contains(id))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let ended = self.tending.lock().under_way.remove(&self.piece);
        if let Some(Begun { at, late: true }) = ended {
            let seconds = at.elapsed().as_secs();
            tracing::info!("{} has ended after {seconds} s", self.piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_hangs_is_not_begun_again_and_is_known() {
        let tending = Arc::new(Tending::default());
        let of = |ids: &[&str]| Piece::Tending(ids.iter().map(|id| (*id).to_owned()).collect());
        let known = || -> Vec<(String, bool)> { tending.repositories().into_iter().collect() };
        let stuck = tending.begin(of(&["b"])).unwrap();
        assert!(tending.begin(of(&["b"])).is_none());
        drop(tending.begin(of(&["a"])).unwrap());
        assert!(!tending.is_late(&of(&["a"])), "it has ended");
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(known(), [(a.clone(), false), (b.clone(), false)]);
        assert!(tending.is_late(&of(&["b"])));
        assert_eq!(known(), [(a.clone(), false), (b.clone(), true)]);
        let _others = tending.begin(of(&["a", "b"])).unwrap();
        drop(stuck);
        assert_eq!(known(), [(a, false), (b, false)]);
        assert!(tending.begin(of(&["b"])).is_some());
        assert_eq!(of(&["a", "b"]).to_string(), "recovery in repositories a, b");
    }
}
