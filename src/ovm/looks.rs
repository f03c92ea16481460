//! Looking at repositories of which one may hang: then it counts as not there, and the others as what
//! they are.
//!
//! Each look runs in a thread of its own, since the kernel may hold whoever asks for as long as the
//! storage does not answer; [`Visits`] keeps them few.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::agent::AgentRepository;
use super::inventory::{look_at, place_of};
use super::repository::{Mount, Repository};
use super::visits::{PATIENCE, Visits};

/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// Looks, and what else goes on in the repositories.
#[derive(Debug, Default)]
pub(super) struct Looks {
    visits: Arc<Visits>,
}

impl Looks {
    /// Who is at work where.
    pub(super) fn visits(&self) -> &Arc<Visits> {
        &self.visits
    }

    /// Looks at all of them at once. Blocks, but not for ever.
    pub(super) fn at(&self, known: Vec<AgentRepository>) -> Vec<Repository> {
        self.with(known, look_at)
    }

    fn with(
        &self,
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

    /// `None` where an earlier visit hangs.
    fn begin(
        &self,
        known: AgentRepository,
        look: fn(AgentRepository) -> Repository,
    ) -> Option<Receiver<Repository>> {
        let visit = self.visits.begin(&place_of(&known))?;
        let (sender, coming) = channel();
        let looking = move || {
            let seen = look(known);
            drop(visit);
            let _ = sender.send(seen);
        };
        let thread = thread::Builder::new().name("look".to_owned());
        if let Err(error) = thread.stack_size(STACK).spawn(looking) {
            tracing::error!("there is no thread to look at a repository with: {error}");
        }
        Some(coming)
    }
}

/// One that does not answer.
fn silent(known: AgentRepository) -> Repository {
    let mount_point = place_of(&known);
    Repository {
        mount: Mount::silent(&mount_point),
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
        let looks = Looks::default();
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
        // The one that hangs is all that is left.
        assert_eq!(Arc::strong_count(&looks.visits), 2);
    }
}
