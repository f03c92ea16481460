//! Who copies which part of a disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Segments for each stream: so many that one slow stream does not keep the others waiting at the
/// end.
const SHARE: u64 = 4;

/// A part of a disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: u64,
    /// Behind its last byte.
    pub(super) to: u64,
}

/// Hands out segments, and takes back what is left of those that broke.
#[derive(Debug)]
pub(super) struct Dispenser {
    queue: Mutex<Queue>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Queue {
    left: VecDeque<Segment>,
    out: usize,
}

/// What there is to do for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Segment(Segment),
    /// Others have all of it; some may come back.
    Wait,
    Done,
}

impl Dispenser {
    /// Cuts these parts for so many streams. One stream gets each part whole.
    pub(super) fn new(parts: Vec<Segment>, streams: usize, least: u64) -> Dispenser {
        let total: u64 = parts.iter().map(|part| part.to - part.from).sum();
        let unit = match streams {
            0 | 1 => u64::MAX,
            _ => (total / (streams as u64 * SHARE)).max(least).max(1),
        };
        let mut left = VecDeque::new();
        for mut part in parts {
            // A rest that is not worth a stream goes with the one before.
            while part.to - part.from > unit.saturating_add(unit / 2) {
                let to = part.from + unit;
                left.push_back(Segment { to, ..part });
                part.from = to;
            }
            left.push_back(part);
        }
        Dispenser {
            queue: Mutex::new(Queue { left, out: 0 }),
            changed: watch::Sender::new(0),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many can be busy at once.
    pub(super) fn segments(&self) -> usize {
        let queue = self.queue();
        queue.left.len() + queue.out
    }

    /// A segment, to be [finished](Dispenser::finished) or [given back](Dispenser::give_back).
    pub(super) fn take(&self) -> Next {
        let mut queue = self.queue();
        match queue.left.pop_front() {
            Some(segment) => {
                queue.out += 1;
                Next::Segment(segment)
            }
            None if queue.out > 0 => Next::Wait,
            None => Next::Done,
        }
    }

    /// One is done.
    pub(super) fn finished(&self) {
        self.queue().out -= 1;
        self.changed.send_modify(|count| *count += 1);
    }

    /// One broke; this is left of it.
    pub(super) fn give_back(&self, rest: Segment) {
        let mut queue = self.queue();
        queue.out -= 1;
        queue.left.push_front(rest);
        drop(queue);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn is_done(&self) -> bool {
        let queue = self.queue();
        queue.left.is_empty() && queue.out == 0
    }

    /// Returns when somebody else has finished one or given one back since `seen` was made.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_stream_gets_all_of_it() {
        let all = Segment {
            from: 0,
            to: 1 << 50,
        };
        let dispenser = Dispenser::new(vec![all], 1, 1);
        assert_eq!(dispenser.take(), Next::Segment(all));
        assert_eq!(dispenser.take(), Next::Wait);
        dispenser.give_back(Segment { from: 7, ..all });
        assert_eq!(dispenser.take(), Next::Segment(Segment { from: 7, ..all }));
        dispenser.finished();
        assert_eq!(dispenser.take(), Next::Done);
        assert!(dispenser.is_done());
    }

    proptest! {
        #[test]
        fn segments_tile_what_was_to_be_done(
            parts in prop::collection::vec((0_u64..5000, 0_u64..100_000), 0..10),
            streams in 1_usize..9,
            least in 1_u64..20_000,
            broken in any::<u64>(),
        ) {
            let mut at = 0;
            let parts: Vec<Segment> = parts
                .into_iter()
                .map(|(gap, length)| {
                    let from = at + gap;
                    at = from + length;
                    Segment { from, to: at }
                })
                .collect();
            let dispenser = Dispenser::new(parts.clone(), streams, least);
            let mut done: Vec<Segment> = Vec::new();
            let mut turn = 0_u32;
            while let Next::Segment(segment) = dispenser.take() {
                turn += 1;
                if turn < 64 && broken & (1 << turn) != 0 {
                    let middle = segment.from + (segment.to - segment.from) / 2;
                    done.push(Segment { to: middle, ..segment });
                    dispenser.give_back(Segment { from: middle, ..segment });
                } else {
                    done.push(segment);
                    dispenser.finished();
                }
            }
            prop_assert!(dispenser.is_done());
            done.sort_by_key(|segment| (segment.from, segment.to));
            let mut joined: Vec<Segment> = Vec::new();
            for segment in done.into_iter().filter(|segment| segment.from < segment.to) {
                match joined.last_mut() {
                    Some(last) if last.to == segment.from => last.to = segment.to,
                    _ => joined.push(segment),
                }
            }
            let mut expected: Vec<Segment> = Vec::new();
            for part in parts.into_iter().filter(|part| part.from < part.to) {
                match expected.last_mut() {
                    Some(last) if last.to == part.from => last.to = part.to,
                    _ => expected.push(part),
                }
            }
            prop_assert_eq!(joined, expected);
        }
    }
}
