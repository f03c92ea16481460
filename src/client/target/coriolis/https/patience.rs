//! Calls that are made again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::answer::CallError;
use super::flight::Flight;
use crate::client::backoff::Backoff;

/// How often, and until when, one call is made.
pub(super) struct Attempts {
    patience: Duration,
    flight: Arc<Flight>,
}

impl Attempts {
    pub(super) fn new(patience: Duration, flight: Arc<Flight>) -> Attempts {
        Attempts { patience, flight }
    }

    /// Makes a call until it works, is refused for good, or patience ends; `is_transient` tells
    /// which. Where the writer has ended there is no further attempt, and the last one is cut short.
    pub(super) async fn until<T, F>(
        &self,
        call: impl Fn() -> F,
        is_transient: impl Fn(&CallError) -> bool,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let ending = self.flight.ending();
        let mut backoff = Backoff::new(self.patience);
        loop {
            let done = tokio::select! {
                done = call() => done,
                () = ending.is_over() => Err(CallError::GivenUp),
            };
            let error = match done {
                Ok(done) => return Ok(done),
                Err(error) if !is_transient(&error) => return Err(error),
                Err(error) => error,
            };
            let Some(pause) = backoff.pause() else {
                return Err(error);
            };
            tracing::debug!(%error, ?pause, "a call to a worker is made again");
            self.pause(pause).await?;
        }
    }

    /// Waits so long, unless the writer ends.
    pub(super) async fn pause(&self, pause: Duration) -> Result<(), CallError> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.flight.ending().comes() => Err(CallError::GivenUp),
        }
    }
}

/// The error of a call, with everything around it.
pub(super) fn failed(name: &str, deed: &str, error: &CallError) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{name}: cannot {deed}: {error}; {}", error.advice()),
    )
}
