//! All segments of a disk, from all endpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::task::JoinSet;

use super::dispenser::{Dispenser, Next, Segment};
use super::endpoints::{Endpoint, Endpoints, is_transient};
use super::halt::Halt;
use super::job::Job;
use super::options::Options;
use super::streaming::{Broken, copy};
use super::{Event, ReplicateError};
use crate::client::ClientError;
use crate::client::backoff::Backoff;

/// How one stream's work ended.
enum Ended {
    /// There is nothing more to do, or not here.
    Well,
    /// This endpoint has not got the base, or the target does not hold it.
    BaseLost(String),
    /// This endpoint cannot go on, others may.
    Failed(ReplicateError),
    /// Nobody may go on.
    Fatal(ReplicateError),
}

/// Copies these parts of a disk.
pub(super) async fn transfer(
    endpoints: &Arc<Endpoints>,
    options: &Options,
    job: &Arc<Job>,
    parts: Vec<Segment>,
) -> Result<(), Halt> {
    let alive = endpoints.alive();
    let streams = alive.len() * options.streams;
    let dispenser = Arc::new(Dispenser::new(parts, streams, options.least_segment));
    // With fewer segments than streams, each endpoint gets some.
    let each = dispenser.segments().div_ceil(alive.len().max(1));
    let each = options.streams.min(each);
    let mut workers = JoinSet::new();
    for _ in 0..each {
        for endpoint in &alive {
            let worker = Worker {
                endpoints: Arc::clone(endpoints),
                endpoint: Arc::clone(endpoint),
                dispenser: Arc::clone(&dispenser),
                job: Arc::clone(job),
            };
            workers.spawn(async move { worker.work().await });
        }
    }
    let mut fatal = None;
    let mut failed = None;
    let mut base_lost = None;
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ended::Well) => {}
            Ok(Ended::BaseLost(reason)) => base_lost = Some(reason),
            Ok(Ended::Failed(error)) => failed = Some(error),
            // The first one is the cause of the others.
            Ok(Ended::Fatal(error)) => {
                fatal.get_or_insert(error);
            }
            Err(error) => {
                job.stop.fail();
                fatal.get_or_insert(ReplicateError::Setup(format!("a stream: {error}")));
            }
        }
    }
    if let Some(error) = fatal {
        return Err(Halt::Error(error));
    }
    if dispenser.is_done() {
        return Ok(());
    }
    job.stop.check().map_err(Halt::Error)?;
    match (base_lost, failed) {
        (Some(reason), _) => Err(Halt::BaseLost(reason)),
        (None, Some(error)) => Err(Halt::Error(error)),
        (None, None) => Err(Halt::Error(ReplicateError::Setup(format!(
            "{}: every endpoint was given up before",
            job.disk
        )))),
    }
}

/// One stream at a time, from one endpoint.
struct Worker {
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    dispenser: Arc<Dispenser>,
    job: Arc<Job>,
}

impl Worker {
    async fn work(&self) -> Ended {
        let mut backoff = Backoff::new(self.endpoints.patience);
        let mut changes = self.dispenser.changes();
        let mut is_failing = false;
        loop {
            if self.job.stop.is_stopped() {
                return Ended::Well;
            }
            if let Some(reason) = self.endpoint.dropped() {
                self.job.tally.dropped(self.endpoint.name(), &reason);
                return Ended::Well;
            }
            changes.mark_unchanged();
            let waiting = Instant::now();
            let permit = tokio::select! {
                permit = self.permit() => permit,
                () = self.job.stop.stopped() => return Ended::Well,
            };
            let segment = match self.dispenser.take() {
                Next::Segment(segment) => segment,
                Next::Done => return Ended::Well,
                Next::Wait => {
                    drop(permit);
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = self.job.stop.stopped() => return Ended::Well,
                    }
                    backoff.waited(waiting.elapsed());
                    continue;
                }
            };
            // To have waited for others is no failure.
            if is_failing {
                backoff.waited(waiting.elapsed());
            } else {
                backoff.reset();
            }
            let (reached, end) = copy(&self.job, &self.endpoint, segment).await;
            drop(permit);
            let Err(broken) = end else {
                self.dispenser.finished();
                is_failing = false;
                continue;
            };
            let rest = Segment {
                from: reached,
                ..segment
            };
            self.dispenser.give_back(rest);
            is_failing = true;
            if reached > segment.from {
                backoff.reset();
            }
            match broken {
                Broken::Failed(error) if is_transient(&error) => {
                    self.job.tally.resumed.fetch_add(1, Relaxed);
                    let Some(pause) = backoff.pause() else {
                        return self.gives_up(reached, error);
                    };
                    self.job.progress.on(&Event::Retrying {
                        endpoint: self.endpoint.name(),
                        error: &error.to_string(),
                        after: pause,
                    });
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.job.stop.stopped() => return Ended::Well,
                        () = self.done_elsewhere() => return Ended::Well,
                    }
                }
                broken => {
                    let ended = self.ends(reached, broken);
                    if matches!(ended, Ended::Fatal(_)) {
                        self.job.stop.fail();
                    }
                    return ended;
                }
            }
        }
    }

    /// One stream more, from this endpoint and at the run's rate, for as long as it is kept.
    async fn permit(&self) -> impl Sized + '_ {
        let here = Arc::clone(&self.endpoint.streams).acquire_owned().await;
        (here, self.job.rate.stream().await)
    }

    /// Something does not go on that waiting does not mend.
    fn ends(&self, reached: u64, broken: Broken) -> Ended {
        let endpoint = self.endpoint.name();
        match broken {
            Broken::Stopped => Ended::Well,
            Broken::BaseLost(error) => {
                let reason = error.to_string();
                self.leaves(&reason);
                Ended::BaseLost(reason)
            }
            Broken::Disagrees(reason) => {
                self.leaves(&reason);
                Ended::Failed(ReplicateError::Invalid {
                    disk: self.job.disk.clone(),
                    endpoint: endpoint.to_owned(),
                    offset: reached,
                    what: reason,
                })
            }
            Broken::Failed(source) => {
                self.leaves(&source.to_string());
                Ended::Failed(self.not_copied(reached, source))
            }
            Broken::Invalid(what) => Ended::Fatal(ReplicateError::Invalid {
                disk: self.job.disk.clone(),
                endpoint: endpoint.to_owned(),
                offset: reached,
                what,
            }),
            Broken::Target(failed) => match self.job.does_not_hold(&failed.error) {
                Some(reason) => Ended::BaseLost(reason),
                None => Ended::Fatal(ReplicateError::Target {
                    disk: self.job.disk.clone(),
                    target: self.job.target.name(),
                    offset: Some(failed.offset),
                    source: failed.error,
                }),
            },
            Broken::Panicked(what) => Ended::Fatal(ReplicateError::Setup(format!(
                "{}: writing to it ended badly: {what}",
                self.job.disk
            ))),
        }
    }

    /// It has failed for too long: no disk gets anything from it any more.
    fn gives_up(&self, reached: u64, error: ClientError) -> Ended {
        let reason = error.to_string();
        if self.endpoint.drop_out(&reason) {
            self.job.progress.on(&Event::EndpointDropped {
                endpoint: self.endpoint.name(),
                reason: &reason,
            });
        }
        self.leaves(&reason);
        Ended::Failed(self.not_copied(reached, error))
    }

    /// This disk gets nothing more from this endpoint.
    fn leaves(&self, reason: &str) {
        self.job.tally.dropped(self.endpoint.name(), reason);
    }

    fn not_copied(&self, offset: u64, source: ClientError) -> ReplicateError {
        ReplicateError::Copy {
            disk: self.job.disk.clone(),
            endpoint: self.endpoint.name().to_owned(),
            offset,
            source: Box::new(source),
        }
    }

    async fn done_elsewhere(&self) {
        let mut changes = self.dispenser.changes();
        while !self.dispenser.is_done() {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
