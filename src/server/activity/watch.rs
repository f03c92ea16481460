//! What one watcher has been told, and what is new to it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::registry::Activities;
use crate::protocol::Operation;

/// How often it is looked how far running operations have come.
const PROGRESS: Duration = Duration::from_secs(1);
/// Looks are at least so far apart, however much begins and ends.
const PAUSE: Duration = Duration::from_millis(100);

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It runs: it has begun, or was running when the watcher came.
    Running(Operation),
    /// All that ran when the watcher came was told: so many.
    Current(usize),
    /// It has come further.
    Progress(Operation),
    /// It has ended, now or so soon that nobody was told that it ran.
    Ended(Operation),
    /// So many ended that were forgotten before this watcher looked.
    Missed(u64),
}

/// One watcher. Holds its place until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    activities: Arc<Activities>,
    changed: watch::Receiver<u64>,
    /// What was told of those that run: bytes and step.
    told: HashMap<u64, (Option<u64>, Option<String>)>,
    number: u64,
    /// Seen and not yet told. Filled only when it is empty.
    news: VecDeque<News>,
    looked: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl Watch {
    /// None where all places are taken.
    pub(super) fn begin(activities: &Arc<Activities>) -> Option<Watch> {
        let place = activities.places.clone().try_acquire_owned().ok()?;
        Some(Watch::at(activities, Some(place)))
    }

    /// What is running now, and nothing else. Takes no place.
    pub(super) fn once(activities: &Arc<Activities>) -> VecDeque<News> {
        let mut watch = Watch::at(activities, None);
        watch.look();
        watch.news
    }

    fn at(activities: &Arc<Activities>, place: Option<OwnedSemaphorePermit>) -> Watch {
        Watch {
            activities: activities.clone(),
            changed: activities.changed.subscribe(),
            told: HashMap::new(),
            number: activities.number(),
            news: VecDeque::new(),
            looked: false,
            _place: place,
        }
    }

    /// What there is to tell next; waits for it.
    pub(super) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            if self.looked {
                tokio::time::sleep(PAUSE).await;
                // The sender belongs to the registry, which this keeps.
                if self.told.is_empty() {
                    let _ = self.changed.changed().await;
                } else {
                    let _ = tokio::time::timeout(PROGRESS - PAUSE, self.changed.changed()).await;
                }
            }
            self.look();
        }
    }

    fn look(&mut self) {
        self.changed.mark_unchanged();
        let look = self.activities.look(self.number);
        self.number = look.number;
        if look.forgotten > 0 {
            self.news.push_back(News::Missed(look.forgotten));
        }
        for operation in look.ended {
            self.told.remove(&operation.id);
            self.news.push_back(News::Ended(operation));
        }
        // Those that are forgotten do not run any more either.
        self.told
            .retain(|id, _| look.running.iter().any(|running| running.id == *id));
        let running = look.running.len();
        for operation in look.running {
            let state = (operation.bytes_sent, operation.step.clone());
            match self.told.insert(operation.id, state.clone()) {
                None => self.news.push_back(News::Running(operation)),
                Some(before) if before != state => {
                    self.news.push_back(News::Progress(operation));
                }
                Some(_) => {}
            }
        }
        if !std::mem::replace(&mut self.looked, true) {
            self.news.push_back(News::Current(running));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{REMEMBERED, Subject};
    use super::*;
    use crate::protocol::{OperationKind, Outcome};

    fn stream() -> Subject {
        Subject {
            kind: OperationKind::Disk,
            vm_id: "vm".to_owned(),
            snapshot_id: None,
            disk: None,
            bytes_total: Some(100),
        }
    }

    #[tokio::test]
    async fn what_runs_is_told_then_how_far_then_its_end() {
        let activities = Activities::new();
        let mut running = activities.begin(stream(), None);
        let mut watch = Watch::begin(&activities).unwrap();
        assert!(matches!(watch.next().await, News::Running(one) if one.bytes_sent == Some(0)));
        assert_eq!(watch.next().await, News::Current(1));
        running.sent(40);
        assert!(matches!(watch.next().await, News::Progress(one) if one.bytes_sent == Some(40)));
        running.ends(Outcome::Done);
        drop(running);
        let News::Ended(one) = watch.next().await else {
            panic!("it has ended");
        };
        assert_eq!(one.outcome, Some(Outcome::Done));
        drop(activities.begin(stream(), None));
        assert!(
            matches!(watch.next().await, News::Ended(one) if one.outcome == Some(Outcome::Left))
        );
    }

    #[tokio::test]
    async fn who_reads_slowly_misses_some_and_holds_nothing() {
        let activities = Activities::new();
        let mut watch = Watch::begin(&activities).unwrap();
        assert_eq!(watch.next().await, News::Current(0));
        for _ in 0..REMEMBERED + 10 {
            drop(activities.begin(stream(), None));
        }
        assert_eq!(watch.next().await, News::Missed(10));
        for _ in 0..REMEMBERED {
            assert!(matches!(watch.next().await, News::Ended(_)));
        }
        let after = tokio::time::timeout(PAUSE * 3, watch.next()).await;
        assert!(after.is_err(), "{after:?}");
    }

    #[tokio::test]
    async fn places_are_bounded_and_given_back() {
        let activities = Activities::new();
        let mut watches: Vec<Watch> = Vec::new();
        while let Some(watch) = Watch::begin(&activities) {
            watches.push(watch);
            assert!(watches.len() < 100);
        }
        assert!(watches.len() > 1);
        watches.pop();
        assert!(Watch::begin(&activities).is_some());
    }
}
