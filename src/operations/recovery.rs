//! Leftovers of crashes, here or on other nodes, expired snapshots, and those of the first generation:
//! looked after at the start, and again from time to time, beside the requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ovm::inventory::NodeFiles;
use crate::ovm::repository::Repository;
use crate::snapshots::{Piece, Plot, Round, SnapshotError, Snapshots, Tending};

/// How long a piece may get no further at the start, when nobody else has locks, before it is said to
/// hang. A round waits no longer for one that does get further.
const AT_START: Duration = Duration::from_secs(10);
/// The same later: it may wait for a lock, and delete what has very many extents.
const LATER: Duration = Duration::from_secs(60);

/// Goes round.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    snapshots: Arc<Snapshots>,
    files: NodeFiles,
}

impl Recovery {
    pub(super) fn of(snapshots: &Arc<Snapshots>, files: &NodeFiles) -> Recovery {
        Recovery {
            snapshots: snapshots.clone(),
            files: files.clone(),
        }
    }

    /// The round of the start.
    pub(super) async fn first_round(self) {
        self.round(true).await;
    }

    /// Goes round for ever, paused guests included.
    pub(super) async fn go_round(self) {
        loop {
            tokio::time::sleep(self.snapshots.recover_interval()).await;
            self.snapshots.release_left();
            self.round(false).await;
        }
    }

    async fn round(&self, at_start: bool) {
        let patience = if at_start { AT_START } else { LATER };
        let listed = self.piece(Piece::Listing, patience, |snapshots, _| {
            Ok(snapshots.round())
        });
        let Ok(Some(round)) = timeout(patience, listed).await else {
            return;
        };
        let round = Arc::new(round);
        let tended = round.mounted().map(|repository| {
            let tended =
                self.clone()
                    .look_after(round.clone(), repository.clone(), patience, at_start);
            timeout(patience, tokio::spawn(tended))
        });
        let nothing_left = |left: &_| matches!(left, Ok(Ok(Some(false))));
        if join_all(tended).await.iter().all(nothing_left) {
            tracing::debug!("no leftovers");
        }
        self.snapshots.tell_of(&round);
        let files = self.files.clone();
        let adopted = self.piece(Piece::Adopting, patience, move |snapshots, moved| {
            let inventory = |repositories: &[Repository]| files.inventory(repositories);
            for id in snapshots.adopt(&round, inventory, moved)? {
                tracing::info!(snapshot = %id, "adopted from the first generation");
            }
            Ok(())
        });
        // What takes longer goes on beside this.
        let _ = timeout(patience, adopted).await;
    }

    /// Looks at a repository, and tends what can be tended then: whether there was anything left.
    async fn look_after(
        self,
        round: Arc<Round>,
        repository: Repository,
        patience: Duration,
        at_start: bool,
    ) -> Option<bool> {
        let begun = Instant::now();
        let piece = Piece::Looking(repository.id.clone());
        let look = self.piece(piece, patience, move |snapshots, moved| {
            snapshots.look(&round, &repository, moved)
        });
        let plots = look.await?;
        // Later, trial clones may be under way.
        let at_start = at_start && begun.elapsed() < patience;
        let tended = plots.into_iter().map(|plot| {
            let piece = Piece::Tending(plot.ids.clone());
            self.piece(piece, patience, move |snapshots, moved| {
                Ok(tend(snapshots, &plot, at_start, moved))
            })
        });
        let left: Option<Vec<bool>> = join_all(tended).await.into_iter().collect();
        left.map(|left| left.contains(&true))
    }

    /// Does a piece of it. `None` where that failed, or has not ended since an earlier round. Who does
    /// not wait for it any more leaves it at work, and watched.
    async fn piece<T: Send + 'static>(
        &self,
        piece: Piece,
        patience: Duration,
        work: impl FnOnce(&Snapshots, &dyn Fn()) -> Result<T, SnapshotError> + Send + 'static,
    ) -> Option<T> {
        let tending = self.snapshots.tending().clone();
        let under_way = tending.begin(piece.clone())?;
        let snapshots = self.snapshots.clone();
        let done = tokio::task::spawn_blocking(move || work(&snapshots, &|| under_way.moves_on()));
        match tokio::spawn(watch(tending, piece, patience, done)).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!("recovery ended badly: {error}");
                None
            }
        }
    }
}

/// Waits for a piece, and says so where it gets no further, or fails.
async fn watch<T>(
    tending: Arc<Tending>,
    piece: Piece,
    patience: Duration,
    mut done: JoinHandle<Result<T, SnapshotError>>,
) -> Option<T> {
    let mut glance = patience;
    let done = loop {
        if let Ok(done) = timeout(glance, &mut done).await {
            break done;
        }
        let stands_for = tending.stands_for(&piece).unwrap_or_default();
        glance = patience.saturating_sub(stands_for);
        if glance.is_zero() {
            glance = patience;
            if tending.is_stuck(&piece) {
                tracing::warn!(
                    "{piece} has got no further for {} s: does its storage answer? It goes on as soon \
                     as it does, and all else meanwhile",
                    patience.as_secs()
                );
            }
        }
    };
    match done {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => tracing::error!("recovery: {error}"),
        Err(error) => tracing::error!("recovery ended badly: {error}"),
    }
    None
}

/// Whether there was anything left.
fn tend(snapshots: &Snapshots, plot: &Plot, at_start: bool, moved: &dyn Fn()) -> bool {
    if at_start {
        snapshots.remove_scratch_of(plot);
    }
    let recovered = snapshots.tend(plot, moved);
    if !recovered.is_nothing() {
        tracing::info!(
            undone = ?recovered.undone,
            finished = ?recovered.finished,
            cleared = ?recovered.cleared,
            mended = ?recovered.mended,
            "leftovers of an interrupted run removed"
        );
    }
    for id in snapshots.expire_in(plot, moved) {
        tracing::info!(snapshot = %id, "its term is over: deleted");
    }
    !recovered.is_nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_piece_is_said_to_hang_only_where_it_gets_no_further() {
        let tending = Arc::new(Tending::default());
        let piece = Piece::Tending(vec!["a".to_owned()]);
        let patience = Duration::from_secs(1);
        let under_way = tending.begin(piece.clone()).unwrap();
        let done = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            while begun.elapsed() < 3 * patience {
                under_way.moves_on();
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(under_way)
        });
        let under_way = watch(tending.clone(), piece.clone(), patience, done).await;
        assert!(tending.is_stuck(&piece), "it was not said");
        drop(under_way);

        let under_way = tending.begin(piece.clone()).unwrap();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let done = tokio::task::spawn_blocking(move || {
            let _ = wait.recv();
            Ok(under_way)
        });
        let patience = Duration::from_millis(1);
        let watched = tokio::spawn(watch(tending.clone(), piece.clone(), patience, done));
        while !tending.repositories()["a"] {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
        let _under_way = watched.await.unwrap();
        assert!(!tending.is_stuck(&piece), "it was said");
    }
}
