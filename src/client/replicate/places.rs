//! Where on a disk it is looked whether a volume is still the one that was written to. No I/O.
//!
//! What tells one volume from another, or from an older copy of itself, is what was written there
//! last. So a run remembers some of the places that it has written, spread over all of them.

use serde::{Deserialize, Serialize};

/// Places begin and end with multiples of this, or with the disk.
const UNIT: u64 = 4096;
/// So many of a run's places are remembered: of those that hold something, and of those that have become
/// zeros.
const DATA: usize = 8;
const ZEROS: usize = 4;

/// A stretch of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Bytes from the disk's start.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Where it is looked; whoever looks at a writer of his own looks at the same places.
impl Place {
    /// Of a disk's start, where tables and superblocks lie, bytes.
    pub const AT_START: u64 = 4 << 20;
    /// Of a disk's end, bytes.
    pub const AT_END: u64 = 1 << 20;
    /// What a disk holds is looked for at so many offsets.
    pub const HERE_AND_THERE: u64 = 4;
    /// Bytes of any other place at most.
    pub const LONGEST: u64 = 256 << 10;
    /// So many that were written last are remembered in all: what is left of the runs before stands
    /// behind.
    pub const MOST_WRITTEN: usize = 24;

    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// What of it lies on a disk of this size, in whole units.
    fn within(&self, size: u64) -> Option<Place> {
        let offset = self.offset - self.offset % UNIT;
        let end = self.end().checked_next_multiple_of(UNIT).unwrap_or(size);
        let end = end.min(size);
        (offset < end).then(|| Place {
            offset,
            length: end - offset,
        })
    }
}

/// Some of what a run writes.
#[derive(Debug)]
pub(super) struct Samples {
    data: Spread,
    zeros: Spread,
}

impl Samples {
    pub(super) fn new() -> Samples {
        Samples {
            data: Spread::new(DATA),
            zeros: Spread::new(ZEROS),
        }
    }

    /// These bytes were written.
    pub(super) fn wrote(&mut self, offset: u64, bytes: &[u8]) {
        self.data.offer(|| {
            // Zeros, which a map may call data, tell nothing.
            let first = bytes.iter().position(|byte| *byte != 0)? as u64;
            Some(Place {
                offset: offset + first,
                length: (bytes.len() as u64 - first).min(Place::LONGEST),
            })
        });
    }

    /// What was there became zeros.
    pub(super) fn zeroed(&mut self, offset: u64, length: u64) {
        self.zeros.offer(|| {
            Some(Place {
                offset,
                length: length.min(Place::LONGEST),
            })
        });
    }

    /// What is to be remembered of a disk of this size, with `older` of the runs before.
    pub(super) fn remembered(&self, older: &[Place], size: u64) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        let fresh = self.data.kept.iter().chain(&self.zeros.kept);
        for place in fresh.chain(older).filter_map(|place| place.within(size)) {
            let overlaps = |other: &Place| place.offset < other.end() && other.offset < place.end();
            if !places.iter().any(overlaps) {
                places.push(place);
            }
        }
        places.truncate(Place::MOST_WRITTEN);
        places
    }
}

/// A few of many, from all over them: every second of those that are kept is given up whenever they have
/// become too many, and from then on every second comes in.
#[derive(Debug)]
struct Spread {
    most: usize,
    step: u64,
    offered: u64,
    kept: Vec<Place>,
}

impl Spread {
    fn new(most: usize) -> Spread {
        Spread {
            most,
            step: 1,
            offered: 0,
            kept: Vec::new(),
        }
    }

    /// Takes what is found, if it is its turn.
    fn offer(&mut self, find: impl FnOnce() -> Option<Place>) {
        let number = self.offered;
        self.offered += 1;
        // Until there is one, any will do.
        if !number.is_multiple_of(self.step) && !self.kept.is_empty() {
            return;
        }
        let Some(place) = find() else {
            return;
        };
        self.kept.push(place);
        if self.kept.len() > self.most {
            let mut is_kept = false;
            self.kept.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.step *= 2;
        }
    }
}

/// Where it is looked in any case: at the start and the end of a disk of this size.
pub(super) fn ends(size: u64) -> [Place; 2] {
    let end = Place::AT_END.min(size);
    [
        Place {
            offset: 0,
            length: Place::AT_START.min(size),
        },
        Place {
            offset: size - end,
            length: end,
        },
    ]
}

/// The first of a longer stretch.
pub(super) fn head_of(offset: u64, length: u64) -> Place {
    Place {
        offset,
        length: length.min(Place::LONGEST),
    }
}

/// What a state says, which comes from elsewhere: not more, and none longer, than a run remembers.
pub(super) fn believed(places: &[Place]) -> impl Iterator<Item = Place> {
    let some = places.iter().take(Place::MOST_WRITTEN);
    some.map(|place| head_of(place.offset, place.length))
}

/// Sorted, and joined where they meet, on a disk of this size.
pub(super) fn joined(places: impl IntoIterator<Item = Place>, size: u64) -> Vec<Place> {
    let mut all: Vec<Place> = places
        .into_iter()
        .filter(|place| place.length > 0)
        .filter_map(|place| place.within(size))
        .collect();
    all.sort_unstable();
    let mut joined: Vec<Place> = Vec::new();
    for place in all {
        match joined.last_mut() {
            Some(last) if place.offset <= last.end() => {
                last.length = place.end().max(last.end()) - last.offset;
            }
            _ => joined.push(place),
        }
    }
    joined
}

/// What is left of a place without these parts, which are sorted.
pub(super) fn without(place: Place, parts: &[Place]) -> Vec<Place> {
    let mut left = Vec::new();
    let mut offset = place.offset;
    let mut keep = |from: u64, to: u64| {
        if from < to {
            left.push(Place {
                offset: from,
                length: to - from,
            });
        }
    };
    for part in parts {
        keep(offset, part.offset.min(place.end()));
        offset = offset.max(part.end());
    }
    keep(offset, place.end());
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, length: u64) -> Place {
        Place { offset, length }
    }

    #[test]
    fn a_few_of_what_was_written_are_remembered_from_all_over_it() {
        for pieces in [1_u64, 7, 8, 9, 100, 10_000] {
            let mut samples = Samples::new();
            let piece = vec![1; 4096];
            for number in 0..pieces {
                samples.wrote(number * 4096, &piece);
                samples.zeroed((pieces + number) * 4096, 4096);
            }
            let size = 2 * pieces * 4096;
            let kept = samples.remembered(&[], size);
            let mut data = kept.iter().filter(|kept| kept.end() <= size / 2);
            let count = data.clone().count();
            assert!(
                (DATA / 2).min(usize::try_from(pieces).unwrap()) <= count && count <= DATA,
                "{pieces}: {kept:?}"
            );
            assert!(kept.len() <= DATA + ZEROS);
            // None stands for more than a quarter of them.
            let last = data.next_back().unwrap();
            assert!(size / 2 - last.offset <= (size / 8).max(4096), "{kept:?}");
        }
    }

    #[test]
    fn zeros_that_are_sent_as_data_are_not_remembered() {
        let mut samples = Samples::new();
        for number in 0..1000 {
            samples.wrote(number << 20, &[0; 8192]);
        }
        assert_eq!(samples.remembered(&[], 1 << 40), []);
        // The only one that holds something, wherever it is.
        let mut bytes = vec![0; 1 << 20];
        bytes[700_000] = 1;
        samples.wrote(5000 << 20, &bytes);
        let kept = samples.remembered(&[], 1 << 40);
        assert_eq!(kept.len(), 1);
        let at = (5000 << 20) + 700_000;
        assert!(kept[0].offset <= at && at < kept[0].end(), "{kept:?}");
        assert!(kept[0].offset.is_multiple_of(UNIT) && kept[0].end().is_multiple_of(UNIT));
    }

    #[test]
    fn older_places_stay_until_there_are_too_many() {
        let mut samples = Samples::new();
        samples.wrote(100, &[1; 100]);
        let older: Vec<Place> = (0..100).map(|n| place(n * 8192, 4096)).collect();
        let kept = samples.remembered(&older, 1 << 30);
        // The first one is the fresh one's own.
        assert_eq!(kept[..3], [place(0, 4096), older[1], older[2]]);
        assert_eq!(kept.len(), Place::MOST_WRITTEN);
        // Those behind the end of a disk that was cut are gone.
        assert_eq!(
            samples.remembered(&older, 9000),
            [place(0, 4096), place(8192, 808)]
        );
    }

    #[test]
    fn places_are_joined_and_stay_on_the_disk() {
        assert_eq!(joined(ends(0), 0), []);
        assert_eq!(joined(ends(5000), 5000), [place(0, 5000)]);
        let size = 100 << 20;
        let far = place(50 << 20, 10);
        let all = ends(size).into_iter().chain([
            far,
            place(u64::MAX - 5, u64::MAX),
            place(99 << 20, 1),
            place(10 << 20, 0),
        ]);
        assert_eq!(
            joined(all, size),
            [
                place(0, Place::AT_START),
                place(50 << 20, UNIT),
                place(size - Place::AT_END, Place::AT_END)
            ]
        );
    }

    #[test]
    fn parts_are_taken_out_of_a_place() {
        let whole = place(100, 100);
        assert_eq!(without(whole, &[]), [whole]);
        assert_eq!(without(whole, &[place(0, 1000)]), []);
        assert_eq!(without(whole, &[place(0, 50), place(500, 1)]), [whole]);
        assert_eq!(
            without(whole, &[place(90, 20), place(120, 10), place(195, 50)]),
            [place(110, 10), place(130, 65)]
        );
    }

    #[test]
    fn what_a_state_says_is_bounded() {
        let many = vec![place(0, u64::MAX); 1000];
        let believed: Vec<Place> = believed(&many).collect();
        assert_eq!(
            believed,
            vec![place(0, Place::LONGEST); Place::MOST_WRITTEN]
        );
    }
}
