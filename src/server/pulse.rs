//! Whether the accept loop still goes round: between two connections it answers whoever asks.
//!
//! Nothing else proves as much and costs nothing. That a connection to the own port is taken proves
//! only that the kernel has room for it; to be served like a client, one would need a place among
//! clients, and a daemon with all places taken would look dead.

use std::sync::Arc;

use tokio::sync::Notify;

/// Asks the accept loop of one listener.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    asked: Arc<Notify>,
    answered: Arc<Notify>,
}

impl Pulse {
    /// Returns when the accept loop has come to ask for the next connection since this was called.
    /// It never does where nothing is accepted: before the listener serves, and when it stops.
    pub async fn felt(&self) {
        // A waiter hears what is said from here on, not only from its first poll on.
        let answered = self.answered.notified();
        self.asked.notify_one();
        answered.await;
    }

    /// The accept loop's side: returns when somebody asks. It is followed by [`Pulse::answer`].
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    pub(super) fn answer(&self) {
        self.answered.notify_waiters();
    }
}
