//! Whether requests can be answered now: the daemon listens, and does not stop. What keeps one
//! repository from being used is not asked here: the others can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Where the daemon is in its life. Set by its start, read by handlers.
#[derive(Debug)]
pub struct Lifecycle {
    serves: AtomicBool,
    stopping: watch::Sender<bool>,
}

impl Lifecycle {
    /// A daemon that starts.
    #[must_use]
    pub fn begin() -> Arc<Lifecycle> {
        Arc::new(Lifecycle {
            serves: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        })
    }

    /// It listens, and leftovers have been looked for, or are being looked for since a while.
    pub fn serves(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// Running requests are finished, and nothing more is begun.
    pub fn stops(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether it is worth asking.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.serves.load(Ordering::Relaxed) && !*self.stopping.borrow()
    }

    /// Returns when the daemon stops: for what would go on for ever.
    pub async fn stopping(&self) {
        // The sender is our own: it cannot be gone.
        let _ = self.stopping.subscribe().wait_for(|stops| *stops).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_between_the_start_and_the_end() {
        let lifecycle = Lifecycle::begin();
        assert!(!lifecycle.is_ready());
        lifecycle.serves();
        assert!(lifecycle.is_ready());
        let early = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.stopping().await }
        });
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        lifecycle.stops();
        early.await.unwrap();
        lifecycle.stopping().await;
        assert!(!lifecycle.is_ready());
        lifecycle.serves();
        assert!(!lifecycle.is_ready());
    }
}
