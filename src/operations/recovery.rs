//! Leftovers of crashes, here or on other nodes, expired snapshots, and those of the first generation:
//! looked after at the start, and again from time to time, beside the requests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::ovm::inventory::NodeFiles;
use crate::snapshots::{Piece, Plot, SnapshotError, Snapshots};

/// What a piece may take at the start, when nobody else has locks, before it is said to hang.
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
        let Some(plots) = self.piece(Piece::Looking, patience, Snapshots::plots).await else {
            return;
        };
        let tended = join_all(plots.into_iter().map(|plot| {
            let piece = Piece::Tending(plot.ids.clone());
            self.piece(piece, patience, move |snapshots| {
                Ok(tend(snapshots, &plot, at_start))
            })
        }));
        if tended.await.iter().all(|left| *left == Some(false)) {
            tracing::debug!("no leftovers");
        }
        let files = self.files.clone();
        self.piece(Piece::Adopting, patience, move |snapshots| {
            for id in snapshots.adopt(|repositories| files.inventory(repositories))? {
                tracing::info!(snapshot = %id, "adopted from the first generation");
            }
            Ok(())
        })
        .await;
    }

    /// Does a piece of it. `None` where that failed, hangs, or does so since an earlier round.
    async fn piece<T: Send + 'static>(
        &self,
        piece: Piece,
        patience: Duration,
        work: impl FnOnce(&Snapshots) -> Result<T, SnapshotError> + Send + 'static,
    ) -> Option<T> {
        let under_way = self.snapshots.tending().begin(piece.clone())?;
        let snapshots = self.snapshots.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _under_way = under_way;
            work(&snapshots)
        });
        match tokio::time::timeout(patience, done).await {
            Ok(Ok(Ok(done))) => return Some(done),
            Ok(Ok(Err(error))) => tracing::error!("recovery: {error}"),
            Ok(Err(error)) => tracing::error!("recovery ended badly: {error}"),
            Err(_) => {
                if self.snapshots.tending().is_late(&piece) {
                    tracing::warn!(
                        "{piece} has not ended within {} s: does its storage answer? It goes on as soon \
                         as it does, and all else meanwhile",
                        patience.as_secs()
                    );
                }
            }
        }
        None
    }
}

/// Whether there was anything left.
fn tend(snapshots: &Snapshots, plot: &Plot, at_start: bool) -> bool {
    if at_start {
        snapshots.remove_scratch_of(plot);
    }
    let recovered = snapshots.tend(plot);
    if !recovered.is_nothing() {
        tracing::info!(
            undone = ?recovered.undone,
            finished = ?recovered.finished,
            cleared = ?recovered.cleared,
            mended = ?recovered.mended,
            "leftovers of an interrupted run removed"
        );
    }
    for id in snapshots.expire_in(plot) {
        tracing::info!(snapshot = %id, "its term is over: deleted");
    }
    !recovered.is_nothing()
}
