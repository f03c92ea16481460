//! Requests for a snapshot whose answer never came. They are not sent again: what was wished for may
//! be refused now, for ever. What they have made, or still make, is found by its key and dropped.

use jiff::{SignedDuration, Timestamp};

use super::endpoints::Endpoints;
use super::past::DROP_PATIENCE;
use super::run::Run;
use super::{ReplicaState, ReplicateError};
use crate::protocol::{SnapshotEntry, SnapshotState};

/// A node that is still at it makes the snapshot sooner than that.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// No more are looked for, so that runs that fail again and again do not make the state large.
const MOST: usize = 100;

impl ReplicaState {
    /// Gives the pending run up where it does not know its snapshot.
    pub(super) fn lose_request(&mut self, now: Timestamp) {
        let Some(pending) = self
            .pending
            .take_if(|pending| pending.snapshot.is_none() && pending.dirty.is_empty())
        else {
            return;
        };
        if let Some(key) = pending.request.idempotency_key {
            self.lost_keys.insert(key, now);
        }
    }

    /// Those that were found are to be dropped. Of one that is being made the key is kept, and of one
    /// that is not there yet for a while: on another node it may still be made.
    fn drop_found(&mut self, found: &[SnapshotEntry], now: Timestamp) {
        for entry in found {
            let Some(key) = &entry.idempotency_key else {
                continue;
            };
            let pending = self.pending.as_ref();
            let in_use = [self.base, pending.and_then(|pending| pending.snapshot)];
            let is_under_way = matches!(
                entry.state,
                SnapshotState::Creating | SnapshotState::Deleting
            );
            if is_under_way || in_use.contains(&Some(entry.id)) {
                continue;
            }
            if self.lost_keys.remove(key).is_some() {
                self.to_drop.insert(entry.id);
            }
        }
        self.lost_keys
            .retain(|_, since| now.duration_since(*since) < KEPT);
        while self.lost_keys.len() > MOST {
            let oldest = self.lost_keys.iter().min_by_key(|(_, since)| **since);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.lost_keys.remove(&oldest);
        }
    }
}

impl Run {
    /// Looks for what lost requests have made. That this cannot be done now is no failure.
    pub(super) async fn find_lost(&self, endpoints: &Endpoints) -> Result<(), ReplicateError> {
        if self.journal.state().await.lost_keys.is_empty() {
            return Ok(());
        }
        let what = "look for the snapshot of a request whose answer never came";
        let patience = DROP_PATIENCE.min(self.options.patience);
        let listed = endpoints
            .ask_for(patience, what, |client| {
                let vm = self.vm.clone();
                async move {
                    // A node that does not see the machine does not see its snapshots either.
                    client.vm(&vm).await?;
                    client.all_snapshots(false).await
                }
            })
            .await;
        match listed {
            Ok(found) => {
                let now = Timestamp::now();
                self.journal
                    .change(|state| state.drop_found(&found, now))
                    .await
            }
            Err(ReplicateError::Cancelled) => Err(ReplicateError::Cancelled),
            Err(error) => {
                self.warn(format!("{error}; the next run tries again"));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use uuid::Uuid;

    use super::*;
    use crate::client::replicate::Pending;
    use crate::protocol::{Consistency, SnapshotRequest};

    fn entry(id: u128, key: &str, state: SnapshotState) -> SnapshotEntry {
        SnapshotEntry {
            id: Uuid::from_u128(id),
            vm_id: None,
            state,
            reason: None,
            created_at: None,
            age_seconds: None,
            label: None,
            expires_at: None,
            consistency: Consistency::None,
            adopted: false,
            node: None,
            disks: Vec::new(),
            size: 0,
            exclusive_bytes: None,
            idempotency_key: Some(key.to_owned()),
        }
    }

    fn lose(state: &mut ReplicaState, key: &str, now: Timestamp) {
        state.pending = Some(Pending {
            request: SnapshotRequest {
                idempotency_key: Some(key.to_owned()),
                ..SnapshotRequest::default()
            },
            snapshot: None,
            dirty: BTreeSet::new(),
            seen: BTreeMap::new(),
        });
        state.lose_request(now);
        assert_eq!(state.pending, None);
    }

    #[test]
    fn what_was_found_is_dropped_and_what_is_under_way_is_looked_for_again() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = ReplicaState::new("vm");
        for key in ["made", "under way", "absent"] {
            lose(&mut state, key, now);
        }
        let found = [
            entry(1, "made", SnapshotState::Ready),
            entry(2, "under way", SnapshotState::Creating),
            entry(3, "another's", SnapshotState::Ready),
        ];
        state.drop_found(&found, now);
        assert_eq!(state.to_drop, BTreeSet::from([Uuid::from_u128(1)]));
        assert!(state.lost_keys.keys().eq(["absent", "under way"]));
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ReplicaState>(&json).unwrap(), state);
        state.drop_found(&[], now + KEPT);
        assert!(state.lost_keys.is_empty());
    }

    #[test]
    fn what_the_replica_holds_or_is_to_hold_is_not_dropped() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = ReplicaState::new("vm");
        for key in ["base", "pending", "neither"] {
            lose(&mut state, key, now);
        }
        state.base = Some(Uuid::from_u128(1));
        state.pending = Some(Pending {
            request: SnapshotRequest::default(),
            snapshot: Some(Uuid::from_u128(2)),
            dirty: BTreeSet::new(),
            seen: BTreeMap::new(),
        });
        let found = [
            entry(1, "base", SnapshotState::Ready),
            entry(2, "pending", SnapshotState::Ready),
            entry(3, "neither", SnapshotState::Ready),
        ];
        state.drop_found(&found, now);
        assert_eq!(state.to_drop, BTreeSet::from([Uuid::from_u128(3)]));
    }

    #[test]
    fn many_failures_do_not_make_the_state_large() {
        let mut state = ReplicaState::new("vm");
        for second in 0..1000 {
            let now = Timestamp::from_second(second).unwrap();
            lose(&mut state, &Uuid::new_v4().to_string(), now);
            state.drop_found(&[], now);
        }
        assert_eq!(state.lost_keys.len(), MOST);
        let oldest = state.lost_keys.values().min().unwrap();
        assert_eq!(oldest.as_second(), 900);
    }
}
