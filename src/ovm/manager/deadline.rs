//! One bound for all steps of a check.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::error::ManagerError;

/// The moment at which a check must be over. Each step gets what is left until then.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    whole: Duration,
    endpoint: Endpoint,
}

impl Deadline {
    /// A deadline that is `whole` from now.
    pub(super) fn after(whole: Duration, endpoint: &Endpoint) -> Self {
        Self {
            at: Instant::now() + whole,
            whole,
            endpoint: endpoint.clone(),
        }
    }

    /// What is left.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Runs one step. `doing` completes "it did not finish within 10 s while …".
    pub(super) async fn step<F: Future>(
        &self,
        doing: &'static str,
        work: F,
    ) -> Result<F::Output, ManagerError> {
        tokio::time::timeout_at(self.at, work)
            .await
            .map_err(|_| ManagerError::Timeout {
                endpoint: self.endpoint.clone(),
                doing,
                seconds: self.whole.as_secs_f64(),
            })
    }
}
