//! Looking at repositories of which one may hang: then it counts as not there, and the others as what
//! they are.
//!
//! Each look runs in a thread of its own, since the kernel may hold whoever asks for as long as the
//! storage does not answer. Who comes while one has been held for a while waits for that one, and begins
//! none: so there are few such threads, however many ask.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::agent::AgentRepository;
use super::inventory::{look_at, place_of};
use super::repository::{Mount, Repository};

/// A look takes microseconds; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// With one under way for longer, no other is begun at the same place.
const A_WHILE: Duration = Duration::from_secs(1);
/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// The looks that are under way.
#[derive(Debug, Default)]
pub(super) struct Looks {
    under_way: Mutex<Vec<Look>>,
    ended: Condvar,
}

#[derive(Debug)]
struct Look {
    mount_point: PathBuf,
    begun: Instant,
}

impl Looks {
    /// Looks at all of them at once. Blocks, but not for ever.
    pub(super) fn at(self: &Arc<Self>, known: Vec<AgentRepository>) -> Vec<Repository> {
        self.with(known, look_at)
    }

    fn with(
        self: &Arc<Self>,
        known: Vec<AgentRepository>,
        look: fn(AgentRepository) -> Repository,
    ) -> Vec<Repository> {
        let begun: Vec<_> = known
            .into_iter()
            .map(|one| (self.begin(one.clone(), look), one))
            .collect();
        let deadline = Instant::now() + PATIENCE;
        begun
            .into_iter()
            .map(|(coming, one)| {
                let left = deadline.saturating_duration_since(Instant::now());
                let seen = coming.and_then(|coming| coming.recv_timeout(left).ok());
                seen.unwrap_or_else(|| silent(one))
            })
            .collect()
    }

    /// `None` where an earlier look hangs.
    fn begin(
        self: &Arc<Self>,
        known: AgentRepository,
        look: fn(AgentRepository) -> Repository,
    ) -> Option<Receiver<Repository>> {
        let mount_point = place_of(&known);
        if !self.is_free(&mount_point) {
            return None;
        }
        let begun = Instant::now();
        self.lock().push(Look {
            mount_point: mount_point.clone(),
            begun,
        });
        let (sender, coming) = channel();
        let (own, place) = (self.clone(), mount_point.clone());
        let looking = move || {
            let seen = look(known);
            own.end(&place, begun);
            let _ = sender.send(seen);
        };
        let thread = thread::Builder::new().name("look".to_owned());
        if let Err(error) = thread.stack_size(STACK).spawn(looking) {
            tracing::error!("there is no thread to look at a repository with: {error}");
            self.end(&mount_point, begun);
        }
        Some(coming)
    }

    /// Waits for looks that have lasted for a while; false where one lasts too long.
    fn is_free(&self, mount_point: &Path) -> bool {
        let mut under_way = self.lock();
        loop {
            let oldest = under_way
                .iter()
                .filter(|look| look.mount_point == mount_point)
                .map(|look| look.begun.elapsed())
                .max();
            let Some(lasts) = oldest.filter(|lasts| *lasts >= A_WHILE) else {
                return true;
            };
            let Some(left) = PATIENCE.checked_sub(lasts).filter(|left| !left.is_zero()) else {
                return false;
            };
            (under_way, _) = self
                .ended
                .wait_timeout(under_way, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, mount_point: &Path, begun: Instant) {
        let mut under_way = self.lock();
        let ended = under_way
            .iter()
            .position(|look| look.begun == begun && look.mount_point == mount_point);
        if let Some(at) = ended {
            under_way.swap_remove(at);
        }
        drop(under_way);
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Look>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that does not answer.
fn silent(known: AgentRepository) -> Repository {
    let mount_point = place_of(&known);
    Repository {
        mount: Mount::Silent(format!(
            "{} does not answer; its storage hangs, or this machine is very busy",
            mount_point.display()
        )),
        id: known.id,
        alias: known.alias,
        mount_point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(mount_point: &str) -> AgentRepository {
        AgentRepository {
            id: format!("id of {mount_point}"),
            mount_point: Some(mount_point.into()),
            ..AgentRepository::default()
        }
    }

    /// One of them hangs.
    fn look(known: AgentRepository) -> Repository {
        while known.mount_point == Some("/hangs".into()) {
            thread::park();
        }
        Repository::inspect(known.id, known.alias, "/proc".into())
    }

    #[test]
    fn one_that_hangs_is_silent_and_takes_one_thread() {
        let looks = Arc::new(Looks::default());
        let begun = Instant::now();
        let seen = looks.with(vec![known("/hangs"), known("/well")], look);
        let ids: Vec<&str> = seen.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["id of /hangs", "id of /well"]);
        assert!(
            matches!(&seen[0].mount, Mount::Silent(reason) if reason.contains("does not answer"))
        );
        assert!(seen[1].status().is_some());
        assert!(begun.elapsed() >= PATIENCE);
        let begun = Instant::now();
        for _ in 0..10 {
            let seen = looks.with(vec![known("/hangs"), known("/well")], look);
            assert!(seen[0].status().is_none() && seen[1].status().is_some());
        }
        assert!(begun.elapsed() < PATIENCE);
        let under_way = looks.lock();
        assert_eq!(under_way.len(), 1, "{under_way:?}");
    }
}
