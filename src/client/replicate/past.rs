//! What an earlier run has left, and what nobody needs any more.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use uuid::Uuid;

use super::endpoints::Endpoints;
use super::run::Run;
use super::stop::Stop;
use super::{Event, ReplicateError};
use crate::protocol::Snapshot;

/// How long a snapshot that nobody needs is worth waiting for: it is in the state.
pub(super) const DROP_PATIENCE: Duration = Duration::from_secs(20);

/// The snapshot that a run begins with.
pub(super) enum Begin {
    /// What an earlier run has begun to write has to be finished.
    Finish(Snapshot),
    Nothing,
}

impl Run {
    /// Deals with what an earlier run has left.
    pub(super) async fn settle(&self) -> Result<Begin, ReplicateError> {
        let Some(pending) = self.journal.state().await.pending else {
            return Ok(Begin::Nothing);
        };
        match pending.snapshot {
            None => {
                // No release writes before it knows its snapshot. Whoever did has written anything.
                let reason = "it was written to by a run that knew no snapshot";
                // Whatever it has made is no longer of now.
                let now = Timestamp::now();
                let change = self.journal.change(|state| {
                    state.distrust_dirty(reason);
                    state.lose_request(now);
                });
                change.await?;
                Ok(Begin::Nothing)
            }
            Some(_) if pending.dirty.is_empty() => {
                let change = self.journal.change(|state| state.abandon("never written"));
                change.await?;
                Ok(Begin::Nothing)
            }
            Some(id) => self.find_half_applied(id).await,
        }
    }

    /// A snapshot that is partly on the targets: nothing but it, or a comparison of all bytes, may
    /// follow there.
    async fn find_half_applied(&self, id: Uuid) -> Result<Begin, ReplicateError> {
        let what = format!("read snapshot {id}, which an interrupted run was copying");
        let found = self
            .endpoints
            .ask(&what, |client| {
                let vm = self.vm.clone();
                async move { client.snapshot_without_ranges(&vm, id).await }
            })
            .await;
        let gone = match found {
            Ok(snapshot) => {
                self.progress.on(&Event::SnapshotTaken {
                    snapshot: id,
                    is_leftover: true,
                });
                return Ok(Begin::Finish(snapshot));
            }
            Err(ReplicateError::Call { source, .. })
                if matches!(
                    source.status(),
                    Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT)
                ) =>
            {
                source
            }
            Err(error) => return Err(error),
        };
        // A node that does not see the machine now does not see its snapshots either.
        self.look_at_machine().await?;
        let reason = format!("an interrupted run has written snapshot {id} to it in part ({gone})");
        self.warn(format!(
            "snapshot {id}, which an interrupted run was copying, cannot be used any more: {gone}"
        ));
        self.journal.change(|state| state.abandon(&reason)).await?;
        Ok(Begin::Nothing)
    }

    async fn look_at_machine(&self) -> Result<(), ReplicateError> {
        let what = format!("look at machine {}", self.vm);
        self.endpoints
            .ask(&what, |client| {
                let vm = self.vm.clone();
                async move { client.vm(&vm).await.map(drop) }
            })
            .await
    }

    /// Deletes what nobody needs. What cannot be deleted now stays in the state, and is no failure.
    pub(super) async fn drop_what_is_over(
        &self,
        endpoints: &Endpoints,
    ) -> Result<(), ReplicateError> {
        self.find_lost(endpoints).await?;
        let state = self.journal.state().await;
        let mut gone = BTreeSet::new();
        for id in state.to_drop {
            let what = format!("delete snapshot {id}");
            let patience = DROP_PATIENCE.min(self.options.patience);
            let deleted = endpoints
                .ask_for(patience, &what, |client| {
                    let vm = self.vm.clone();
                    async move {
                        // A node that has started without its repositories calls all of them gone.
                        client.vm(&vm).await?;
                        client.delete_snapshot(&vm, id).await
                    }
                })
                .await;
            match deleted {
                Ok(()) => {
                    gone.insert(id);
                    self.progress.on(&Event::SnapshotDropped { snapshot: id });
                }
                Err(ReplicateError::Cancelled) => return Err(ReplicateError::Cancelled),
                Err(error) => self.warn(format!("{error}; the next run tries again")),
            }
        }
        self.journal
            .change(|state| state.to_drop.retain(|id| !gone.contains(id)))
            .await?;
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.extend(gone);
        Ok(())
    }

    /// After a failure: a snapshot of which nothing was written is of no use to the next run, nor is
    /// a request that was refused. What does not work here the next run does.
    pub(super) async fn tidy_up(&self) {
        let pending = self.journal.state().await.pending;
        if !pending.is_some_and(|pending| pending.dirty.is_empty()) {
            return;
        }
        let now = Timestamp::now();
        let change = self.journal.change(|state| {
            state.lose_request(now);
            state.abandon("never written");
        });
        if change.await.is_err() {
            return;
        }
        let endpoints = Endpoints {
            all: self.endpoints.all.clone(),
            patience: DROP_PATIENCE,
            progress: Arc::clone(&self.progress),
            stop: Stop::new(&self.cancellation),
        };
        let _ = self.drop_what_is_over(&endpoints).await;
    }
}
