//! The nodes that a run speaks to.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::progress::Progress;
use super::stop::Stop;
use super::{Event, ReplicateError};
use crate::client::backoff::Backoff;
use crate::client::{Client, ClientError};
use crate::protocol::delta::DeltaError;

/// A node.
pub(super) struct Endpoint {
    pub(super) client: Client,
    /// One for each stream at a time.
    pub(super) streams: Arc<Semaphore>,
    dropped: Mutex<Option<String>>,
}

impl Endpoint {
    pub(super) fn new(client: Client, streams: usize) -> Endpoint {
        Endpoint {
            client,
            streams: Arc::new(Semaphore::new(streams)),
            dropped: Mutex::new(None),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.client.endpoint()
    }

    /// Why it gets no more work.
    pub(super) fn dropped(&self) -> Option<String> {
        let dropped = self.dropped.lock();
        dropped.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It gets no more work. True for whoever is the first to say so.
    pub(super) fn drop_out(&self, reason: &str) -> bool {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if dropped.is_some() {
            return false;
        }
        *dropped = Some(reason.to_owned());
        true
    }
}

/// All of them, and how to ask whichever works.
pub(super) struct Endpoints {
    pub(super) all: Vec<Arc<Endpoint>>,
    pub(super) patience: Duration,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: Stop,
}

impl Endpoints {
    /// Those that may get work.
    pub(super) fn alive(&self) -> Vec<Arc<Endpoint>> {
        let alive = self.all.iter().filter(|one| one.dropped().is_none());
        alive.cloned().collect()
    }

    /// Makes a call, on the first endpoint that answers it; again and again while all that fails is
    /// the way to them.
    pub(super) async fn ask<T, F>(
        &self,
        what: &str,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, ReplicateError>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
        T: Send,
    {
        self.ask_for(self.patience, what, call).await
    }

    /// The same, for so long.
    pub(super) async fn ask_for<T, F>(
        &self,
        patience: Duration,
        what: &str,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, ReplicateError>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
        T: Send,
    {
        let mut backoff = Backoff::new(patience);
        let error = |endpoint: &Endpoint, source| ReplicateError::Call {
            endpoint: endpoint.name().to_owned(),
            what: what.to_owned(),
            source: Box::new(source),
        };
        loop {
            let mut refused = None;
            let mut failed = None;
            // Those that were given up come last.
            let (alive, dropped): (Vec<_>, Vec<_>) =
                self.all.iter().partition(|one| one.dropped().is_none());
            for endpoint in alive.into_iter().chain(dropped) {
                let answer = tokio::select! {
                    () = self.stop.stopped() => return Err(ReplicateError::Cancelled),
                    answer = call(endpoint.client.clone()) => answer,
                };
                let source = match answer {
                    Ok(answer) => return Ok(answer),
                    Err(source) => source,
                };
                if is_transient(&source) {
                    failed.get_or_insert((endpoint, source));
                } else {
                    refused.get_or_insert_with(|| error(endpoint, source));
                }
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
            let Some((endpoint, source)) = failed else {
                return Err(ReplicateError::Setup("no endpoint was named".to_owned()));
            };
            let Some(pause) = backoff.pause() else {
                return Err(error(endpoint, source));
            };
            self.progress.on(&Event::Retrying {
                endpoint: endpoint.name(),
                error: &format!("cannot {what}: {source}"),
                after: pause,
            });
            self.stop.sleep(pause).await?;
        }
    }
}

/// Whether the same may work later. An error in the middle of a stream comes without a status.
pub(super) fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Delta(DeltaError::GivenUp(body)) => body.error == "Service Unavailable",
        error => error.is_transient(),
    }
}
