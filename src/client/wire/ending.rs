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

use crate::client::trust::CONNECT;

/// For so long a request may still get its answer once its connection has ended: one that the connection
/// has given back is sent again, over another one, which takes as long as a connection may take.
/// Whoever gives up earlier calls a request unanswered that is under way.
pub(super) const GRACE: Duration = CONNECT.saturating_add(Duration::from_secs(2));

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

    fn is_of_the_same(&self, other: &End) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// Waits for the answer to a request for as long as the connection is there that it was sent over, and
/// `grace` longer. None where that has ended, no answer came of it, and the request was not sent over
/// another one meanwhile.
pub(super) async fn unless_ended<T>(
    grace: Duration,
    answer: impl Future<Output = T>,
    mut request: CaptureConnection,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let ended = async {
            drop(request.wait_for_connection_metadata().await);
            let end = End::of(&request)?;
            end.clone().comes().await;
            Some(end)
        };
        let ended = tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            ended = ended => ended,
        };
        // Of a connection that does not tell of its end.
        let Some(ended) = ended else {
            return Some(answer.await);
        };
        if let Ok(answer) = tokio::time::timeout(grace, &mut answer).await {
            return Some(answer);
        }
        if End::of(&request).is_some_and(|last| last.is_of_the_same(&ended)) {
            return None;
        }
    }
}
