//! Which pieces of recovery are under way.
//!
//! Storage that hangs holds whoever touches it, for as long as it likes. So recovery is cut into pieces
//! by the repositories that they touch: one that hangs keeps no other from being done, is not begun a
//! second time, and is known by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A piece of recovery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Which repositories there are.
    Listing,
    /// Looking at one of them for what there is: by id.
    Looking(String),
    /// What lies on these repositories, and on all of them: by id.
    Tending(Vec<String>),
    /// Taking over what the first generation left.
    Adopting,
}

impl Piece {
    /// Those that keep it waiting where it hangs.
    fn repositories(&self) -> &[String] {
        match self {
            Piece::Looking(repository) => std::slice::from_ref(repository),
            Piece::Tending(repositories) => repositories,
            Piece::Listing | Piece::Adopting => &[],
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Listing => formatter.write_str("the look which repositories there are"),
            Piece::Looking(repository) => {
                write!(formatter, "recovery's look at repository {repository}")
            }
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
    /// When it got further the last time.
    moved: Instant,
    /// It gets no further.
    stuck: bool,
    /// That was said.
    said: bool,
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
        let repositories = piece.repositories().iter().cloned();
        pieces.repositories.extend(repositories);
        let now = Instant::now();
        let begun = Begun {
            at: now,
            moved: now,
            stuck: false,
            said: false,
        };
        pieces.under_way.insert(piece.clone(), begun);
        Some(UnderWay {
            tending: self.clone(),
            piece,
        })
    }

    /// For how long a piece has got no further; nothing where it has ended.
    #[must_use]
    pub fn stands_for(&self, piece: &Piece) -> Option<Duration> {
        let pieces = self.lock();
        let begun = pieces.under_way.get(piece);
        begun.map(|begun| begun.moved.elapsed())
    }

    /// Notes that a piece gets no further. True where that is to be said: once for each piece.
    pub fn is_stuck(&self, piece: &Piece) -> bool {
        let mut pieces = self.lock();
        let Some(begun) = pieces.under_way.get_mut(piece) else {
            return false;
        };
        begun.stuck = true;
        !std::mem::replace(&mut begun.said, true)
    }

    /// Every repository that recovery was ever at, by id, and whether it keeps recovery waiting now.
    #[must_use]
    pub fn repositories(&self) -> BTreeMap<String, bool> {
        let pieces = self.lock();
        let stuck = pieces.under_way.iter().filter(|(_, begun)| begun.stuck);
        let stuck: BTreeSet<&String> = stuck.flat_map(|(piece, _)| piece.repositories()).collect();
        let all = pieces.repositories.iter();
        all.map(|id| (id.clone(), stuck.contains(id))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// It got further.
    pub fn moves_on(&self) {
        let mut pieces = self.tending.lock();
        if let Some(begun) = pieces.under_way.get_mut(&self.piece) {
            begun.moved = Instant::now();
            begun.stuck = false;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let ended = self.tending.lock().under_way.remove(&self.piece);
        if let Some(Begun { at, said: true, .. }) = ended {
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
        assert!(!tending.is_stuck(&of(&["a"])), "it has ended");
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(known(), [(a.clone(), false), (b.clone(), false)]);
        assert!(tending.is_stuck(&of(&["b"])));
        assert!(!tending.is_stuck(&of(&["b"])), "it was said");
        assert_eq!(known(), [(a.clone(), false), (b.clone(), true)]);
        let _others = tending.begin(of(&["a", "b"])).unwrap();
        drop(stuck);
        assert_eq!(known(), [(a, false), (b, false)]);
        assert!(tending.begin(of(&["b"])).is_some());
        assert_eq!(of(&["a", "b"]).to_string(), "recovery in repositories a, b");
    }

    #[test]
    fn a_piece_that_takes_long_and_gets_further_is_not_stuck() {
        let tending = Arc::new(Tending::default());
        let piece = Piece::Looking("a".to_owned());
        let at_work = tending.begin(piece.clone()).unwrap();
        assert!(tending.is_stuck(&piece));
        assert_eq!(tending.repositories(), [("a".to_owned(), true)].into());
        let long = Duration::from_secs(60);
        tending.lock().under_way.get_mut(&piece).unwrap().moved -= long;
        assert!(tending.stands_for(&piece).unwrap() >= long);
        at_work.moves_on();
        assert!(tending.stands_for(&piece).unwrap() < long);
        assert_eq!(tending.repositories(), [("a".to_owned(), false)].into());
        drop(at_work);
        assert_eq!(tending.stands_for(&piece), None);
    }
}
