//! Who is at work in which repository, so that storage that hangs holds few threads.
//!
//! The kernel may hold whoever touches a file for as long as the storage below does not answer. Who
//! comes while somebody has been held at the same place for a while waits for that one, and in the
//! end does not begin: so few are held there, however many ask.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A step takes microseconds; this is for a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// With a step that has lasted longer, nobody else begins at the same place.
const A_WHILE: Duration = Duration::from_secs(1);
/// So many may be at one place at the same time: storage that hangs holds no more.
const CROWD: usize = 32;

/// The visits that are under way.
#[derive(Debug, Default)]
pub struct Visits {
    under_way: Mutex<UnderWay>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct UnderWay {
    visits: Vec<Step>,
    number: u64,
}

/// What a visitor does since when.
#[derive(Debug)]
struct Step {
    number: u64,
    place: PathBuf,
    begun: Instant,
}

/// A visit: over when this is dropped. Who has one begins no second one.
#[derive(Debug)]
pub struct Visit {
    visits: Arc<Visits>,
    number: u64,
}

impl Visits {
    /// Begins a visit to what lies below a mount point. `None` where an earlier one hangs. Blocks,
    /// but not for ever.
    #[must_use]
    pub fn begin(self: &Arc<Self>, place: &Path) -> Option<Visit> {
        let mut under_way = self.lock();
        loop {
            let (lasts, count) = under_way.at(place);
            if lasts < A_WHILE && count < CROWD {
                break;
            }
            let left = PATIENCE.checked_sub(lasts)?;
            if left.is_zero() {
                return None;
            }
            (under_way, _) = self
                .changed
                .wait_timeout(under_way, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        under_way.number += 1;
        let number = under_way.number;
        under_way.visits.push(Step {
            number,
            place: place.to_owned(),
            begun: Instant::now(),
        });
        Some(Visit {
            visits: self.clone(),
            number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// How long the oldest step at a place lasts, and how many visit it.
    fn at(&self, place: &Path) -> (Duration, usize) {
        let here = || self.visits.iter().filter(|step| step.place == place);
        let lasts = here().map(|step| step.begun.elapsed()).max();
        (lasts.unwrap_or_default(), here().count())
    }
}

impl Visit {
    /// A step is over, the next one begins: whoever takes long for many steps is not held.
    pub fn moves_on(&self) {
        let mut under_way = self.visits.lock();
        let mut all = under_way.visits.iter_mut();
        if let Some(step) = all.find(|step| step.number == self.number) {
            step.begun = Instant::now();
        }
        drop(under_way);
        self.visits.changed.notify_all();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visits
            .lock()
            .visits
            .retain(|step| step.number != self.number);
        self.visits.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nobody_follows_one_that_is_held() {
        let visits = Arc::new(Visits::default());
        let (here, there) = (Path::new("/here"), Path::new("/there"));
        let held = visits.begin(here).unwrap();
        let begun = Instant::now() - A_WHILE;
        visits.lock().visits[0].begun = begun;
        assert!(visits.begin(there).is_some());
        assert!(visits.begin(here).is_none());
        assert!(begun.elapsed() >= PATIENCE);
        let begun = Instant::now();
        assert!(visits.begin(here).is_none() && visits.begin(there).is_some());
        assert!(begun.elapsed() < PATIENCE, "it is known now");
        held.moves_on();
        assert!(visits.begin(here).is_some());
        drop(held);
        assert!(visits.lock().visits.is_empty());
    }

    #[test]
    fn a_crowd_is_held_at_most_and_others_wait_for_it() {
        let visits = Arc::new(Visits::default());
        let place = Path::new("/here");
        let mut crowd: Vec<Visit> = (0..CROWD).map(|_| visits.begin(place).unwrap()).collect();
        let (own, left) = (visits.clone(), crowd.pop().unwrap());
        let late = thread::spawn(move || own.begin(place).map(drop).is_some());
        drop(left);
        assert!(late.join().unwrap());
        let _full = visits.begin(place).unwrap();
        assert!(visits.begin(place).is_none(), "they hang");
    }
}
