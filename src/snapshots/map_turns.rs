//! One reader of extent maps at a time, where several hinder each other.
//!
//! For each extent that may be shared XFS looks into the allocation group's list of shared extents,
//! which takes the group's lock. Two readers on two processors hand it to and fro: on Linux 6.18 two
//! halves of one map of 42,000 extents took two to five times as long at once as one after the other.
//! OCFS2 notes in the extent itself that it is shared.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::file_system::{self, Kind};
use crate::sys::uncached::UncachedFile;

/// The turns of all file systems, by their device numbers.
#[derive(Debug, Default)]
pub struct MapTurns(Mutex<HashMap<u64, Arc<Mutex<()>>>>);

/// Where a walk waits before it reads a page of maps.
#[derive(Debug, Clone, Default)]
pub struct MapTurn(Option<Arc<Mutex<()>>>);

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
    /// Waits until nobody else reads; others wait until the answer is dropped.
    pub fn take(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = self.0.as_ref()?;
        Some(turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn readers_of_one_file_system_take_turns() {
        let turns = MapTurns::default();
        let mine = turns.on(1);
        let held = mine.take();
        assert!(held.is_some());
        let same = turns.on(1);
        assert!(same.0.as_ref().is_some_and(|turn| turn.try_lock().is_err()));
        drop(turns.on(2).take());
        let waiting = thread::spawn(move || same.take().is_some());
        drop(held);
        assert!(waiting.join().unwrap());
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
