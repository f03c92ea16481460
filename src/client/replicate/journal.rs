use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Pending, ReplicaState, ReplicateError, STATE_VERSION, StateStore};
use crate::client::target::Fingerprint;

/// The state of a run, changed only where it was saved so.
pub(super) struct Journal {
    store: Arc<dyn StateStore>,
    state: Mutex<ReplicaState>,
}

impl Journal {
    /// Loads it; a new one is of this machine.
    pub(super) async fn open(
        store: Arc<dyn StateStore>,
        vm: &str,
    ) -> Result<Journal, ReplicateError> {
        let loading = Arc::clone(&store);
        let loaded = blocking(move || loading.load())
            .await?
            .map_err(ReplicateError::State)?;
        let state = loaded.unwrap_or_else(|| ReplicaState::new(vm));
        if state.version > STATE_VERSION {
            return Err(ReplicateError::State(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!(
                    "{} was written by a newer release (version {}, known is {STATE_VERSION}); use \
                     that one",
                    store.name(),
                    state.version
                ),
            )));
        }
        Ok(Journal {
            store,
            state: Mutex::new(state),
        })
    }

    /// What it says now.
    pub(super) async fn state(&self) -> ReplicaState {
        self.state.lock().await.clone()
    }

    /// Changes it, and returns when that is saved.
    pub(super) async fn change(
        &self,
        change: impl FnOnce(&mut ReplicaState) + Send,
    ) -> Result<(), ReplicateError> {
        let mut state = self.state.lock().await;
        let mut changed = state.clone();
        change(&mut changed);
        if changed == *state {
            return Ok(());
        }
        changed.version = STATE_VERSION;
        let (store, saved) = (Arc::clone(&self.store), changed.clone());
        blocking(move || store.save(&saved))
            .await?
            .map_err(ReplicateError::State)?;
        *state = changed;
        Ok(())
    }

    /// Before the first write to a target: it may be written to, and looks like this; `suspect`
    /// where what it held before was not to be relied on either.
    pub(super) async fn will_write(
        &self,
        disk: &str,
        looks: Option<Fingerprint>,
        suspect: Option<&str>,
    ) -> Result<(), ReplicateError> {
        self.change(|state| {
            if let Some(Pending { dirty, seen, .. }) = &mut state.pending {
                dirty.insert(disk.to_owned());
                if let Some(looks) = looks {
                    seen.insert(disk.to_owned(), looks);
                }
            }
            if let Some(reason) = suspect {
                state.distrust(disk, reason);
            }
        })
        .await
    }
}

/// Runs what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReplicateError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ReplicateError::Setup(format!("an operation ended badly: {error}")))
}
