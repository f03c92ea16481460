use tokio::sync::watch;

/// Ends a run from elsewhere: clones are the same switch.
///
/// A run that is cancelled leaves its state as one that is killed: the next run goes on from it.
/// It returns [`ReplicateError::Cancelled`](super::ReplicateError::Cancelled) when nothing of it
/// writes any more.
#[derive(Debug, Clone)]
pub struct Cancellation(watch::Sender<bool>);

impl Default for Cancellation {
    fn default() -> Cancellation {
        Cancellation::new()
    }
}

impl Cancellation {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Cancellation {
        Cancellation(watch::Sender::new(false))
    }

    /// Cancels. There is no way back.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is.
    pub async fn cancelled(&self) {
        // The sender is held here: it cannot have gone.
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }
}
