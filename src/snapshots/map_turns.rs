//! One reader of extent maps at a time, where several hinder each other.
//!
//! For each extent that may be shared XFS looks into the allocation group's list of shared extents,
//! which takes the group's lock. Two readers on two processors hand it to and fro: on Linux 6.18 two
//! halves of one map of 42,000 extents took two to five times as long at once as one after the other.
//! OCFS2 notes in the extent itself that it is shared.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys::file_system::{self, Kind};
use crate::sys::uncached::UncachedFile;

/// Extents read in one turn, where a walk does not say itself when its page ends: a small part of one.
const BATCH: usize = 16_384;

/// The turns of all file systems, by their device numbers.
#[derive(Debug, Default)]
pub struct MapTurns(Mutex<HashMap<u64, Arc<Queue>>>);

/// Where a walk waits before it reads a page of maps, and whoever else reads one.
#[derive(Debug, Clone, Default)]
pub struct MapTurn(Option<Arc<Queue>>);

/// Who came first reads first: a comparison that takes page after page must not keep others out, as it
/// would with a mutex alone.
#[derive(Debug, Default)]
struct Queue {
    numbers: Mutex<Numbers>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Numbers {
    /// For who comes next.
    next: u64,
    /// Whose turn it is.
    called: u64,
}

/// It is the holder's turn until this is dropped.
#[derive(Debug)]
pub struct Held<'t>(&'t Queue);

impl MapTurns {
    /// The turn of those that read maps of the file system that `file` lies on.
    pub fn of(&self, file: &UncachedFile) -> MapTurn {
        let file = file.file();
        let is_xfs = file_system::status(file).is_ok_and(|status| status.kind == Kind::Xfs);
        let metadata = file.metadata().ok().filter(|_| is_xfs);
        metadata.map_or_else(MapTurn::default, |metadata| self.on(metadata.dev()))
    }

    fn on(&self, device: u64) -> MapTurn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MapTurn(Some(Arc::clone(turns.entry(device).or_default())))
    }
}

impl MapTurn {
    /// Waits until all who came before have read; others wait until the answer is dropped.
    pub fn take(&self) -> Option<Held<'_>> {
        let queue = self.0.as_deref()?;
        let mut numbers = queue.lock();
        let own = numbers.next;
        numbers.next += 1;
        while numbers.called != own {
            numbers = queue
                .changed
                .wait(numbers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(Held(queue))
    }

    /// What is read of one map, batch by batch, each in a turn that is over before it is handed out.
    pub fn in_batches<T>(&self, mut map: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let mut is_over = false;
        let next = move || {
            // A turn may be long in coming: none is taken to see that there is no more.
            if is_over {
                return None;
            }
            let _turn = self.take();
            let batch: Vec<T> = map.by_ref().take(BATCH).collect();
            is_over = batch.len() < BATCH;
            Some(batch)
        };
        std::iter::from_fn(next).flatten()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().called += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn readers_of_one_file_system_read_in_the_order_in_which_they_came() {
        let turns = MapTurns::default();
        let mine = turns.on(1);
        let held = mine.take();
        assert!(held.is_some());
        drop(turns.on(2).take());
        let (says, heard) = mpsc::channel();
        let queue = mine.0.clone().unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let (turn, says) = (turns.on(1), says.clone());
                let waiting = thread::spawn(move || {
                    let _held = turn.take();
                    says.send(number).unwrap();
                });
                // It has its number before the next one comes.
                while queue.lock().next < number + 2 {
                    thread::yield_now();
                }
                waiting
            })
            .collect();
        assert!(heard.try_recv().is_err(), "somebody did not wait");
        drop(held);
        for one in waiting {
            one.join().unwrap();
        }
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_long_map_is_read_in_turns_and_between_them_it_is_that_of_others() {
        let turn = MapTurns::default().on(1);
        let queue = turn.0.clone().unwrap();
        let whole: Vec<usize> = turn.in_batches(0..2 * BATCH + 1).collect();
        assert!(whole.into_iter().eq(0..2 * BATCH + 1));
        let taken = queue.lock().next;
        assert_eq!((taken, queue.lock().called), (3, 3));
        let mut map = turn.in_batches(0..BATCH + 1);
        assert_eq!(map.next(), Some(0));
        assert!(turn.take().is_some(), "somebody else would wait");
        assert_eq!(map.count(), BATCH);
        // Without a turn to wait for, all the same.
        assert_eq!(MapTurn::default().in_batches(0..5).count(), 5);
    }

    #[test]
    fn a_reader_that_ended_badly_keeps_nobody_waiting() {
        let turns = MapTurns::default();
        let turn = turns.on(1);
        let bad = turn.clone();
        let ended = thread::spawn(move || {
            let _held = bad.take();
            panic!("as a bug would");
        });
        assert!(ended.join().is_err());
        assert!(turn.take().is_some());
    }

    #[test]
    fn others_wait_for_nobody() {
        assert!(MapTurn::default().take().is_none());
    }
}
