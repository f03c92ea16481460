//! The end of a connection, told to whoever waits for an answer over it.
//!
//! hyper hands a request to the task that owns the connection, over a channel of tokio's. Where that
//! task ends in the same instant, since the node closed the connection, the request may stay in the
//! channel, and with it the only one who would say so: the answer is waited for without end. Seen
//! with hyper 1.12 and tokio 1.54, when a node was killed between two requests; tokio's documents
//! tell of it under `Permit::send`.

use std::time::Duration;

use hyper_util::client::legacy::connect::{CaptureConnection, Connected};
use tokio::sync::watch;

/// For so long an answer may still be on its way inside of this process once its connection has
/// ended.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A connection that is there, as a part of it.
#[derive(Debug, Default)]
pub(super) struct Life(watch::Sender<()>);

/// What others know of it.
#[derive(Debug, Clone)]
struct End(watch::Receiver<()>);

impl Life {
    /// To be found again by whoever uses the connection.
    pub(super) fn told(&self) -> Connected {
        Connected::new().extra(End(self.0.subscribe()))
    }
}

impl End {
    /// Of the connection that a request was last sent over; none where it waits for one.
    fn of(request: &CaptureConnection) -> Option<End> {
        let mut told = http::Extensions::new();
        request
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut told);
        told.remove()
    }

    async fn comes(mut self) {
        while self.0.changed().await.is_ok() {}
    }

    fn has_come(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// Waits for the answer to a request for as long as the connection is there that it was sent over.
/// None where that has ended, and no answer came of it.
pub(super) async fn unless_ended<T>(
    answer: impl Future<Output = T>,
    mut request: CaptureConnection,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let ended = async {
            drop(request.wait_for_connection_metadata().await);
            match End::of(&request) {
                Some(end) => end.comes().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            () = ended => {}
        }
        if let Ok(answer) = tokio::time::timeout(GRACE, &mut answer).await {
            return Some(answer);
        }
        // Unless it was sent again, over another one.
        if End::of(&request).is_some_and(|end| end.has_come()) {
            return None;
        }
    }
}
