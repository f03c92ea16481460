//! One segment, from one endpoint to the target.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reqwest::StatusCode;
use tokio::sync::mpsc;

use super::dispenser::Segment;
use super::endpoints::Endpoint;
use super::job::Job;
use super::writing::{NotWritten, PIECES, Piece, write};
use crate::client::{Client, ClientError, Comparison, DeltaStream};
use crate::protocol::delta::{DeltaError, Item};

/// Why a segment was not copied to its end.
#[derive(Debug)]
pub(super) enum Broken {
    Stopped,
    /// The call or the stream failed.
    Failed(ClientError),
    /// What was sent must not be believed, nor what came before it.
    Invalid(String),
    /// This endpoint is of another mind than the others about the base.
    Disagrees(String),
    /// The snapshot can be read and the base cannot.
    BaseLost(ClientError),
    /// The target did not take it.
    Target(NotWritten),
    /// A writer that panicked.
    Panicked(String),
}

/// Copies a segment, as far as it goes: everything before the offset in the answer is on the target.
pub(super) async fn copy(
    job: &Arc<Job>,
    endpoint: &Endpoint,
    segment: Segment,
) -> (u64, Result<(), Broken>) {
    let opened = tokio::select! {
        () = job.stop.stopped() => return (segment.from, Err(Broken::Stopped)),
        opened = open(job, &endpoint.client, segment) => opened,
    };
    let stream = match opened {
        Ok(stream) => stream,
        Err(broken) => return (segment.from, Err(broken)),
    };
    let (send, mut pieces) = mpsc::channel(PIECES);
    let writing = {
        let job = Arc::clone(job);
        tokio::task::spawn_blocking(move || write(&job, segment.from, &mut pieces))
    };
    let (received, read) = read(job, stream, &send).await;
    // Then the writer ends, after all that it was given.
    drop(send);
    let written = writing.await;
    let (reached, end) = match written {
        Ok(Ok(reached)) => (reached, read),
        Ok(Err(failed)) => (segment.from, Err(Broken::Target(failed))),
        Err(panic) => (segment.from, Err(Broken::Panicked(panic.to_string()))),
    };
    let reached = if end.is_ok() {
        job.tally.covered.fetch_add(segment.to - reached, Relaxed);
        segment.to
    } else {
        reached
    };
    job.tally
        .came(endpoint.name(), reached - segment.from, received);
    (reached, end)
}

async fn open(job: &Job, client: &Client, segment: Segment) -> Result<DeltaStream, Broken> {
    let disk = job.disk_of();
    let comparison = job.comparison();
    let to = (segment.to < job.size).then_some(segment.to);
    let opened = client
        .delta_between(&disk, &comparison, segment.from, to, job.compression)
        .await;
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => return Err(judged(job, client, error).await),
    };
    job.check(stream.header()).map_err(Broken::Invalid)?;
    if !job.agrees(stream.header()) {
        return Err(Broken::Disagrees(format!(
            "its stream is relative to {:?}, that of the others is not",
            stream.header().base
        )));
    }
    Ok(stream)
}

/// What is wrong where a stream does not begin: the base, or more than that.
async fn judged(job: &Job, client: &Client, error: ClientError) -> Broken {
    let may_be_the_base = matches!(
        error.status(),
        Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::BAD_REQUEST)
    );
    if job.base.is_none() || !may_be_the_base {
        return of_stream(error);
    }
    let bare = Comparison::to(None);
    match client
        .ranges(&job.disk_of(), &bare, job.size, Some(1))
        .await
    {
        Ok(_) => Broken::BaseLost(error),
        Err(worse) => of_stream(worse),
    }
}

fn of_stream(error: ClientError) -> Broken {
    match error {
        ClientError::Delta(
            error @ (DeltaError::Malformed(_) | DeltaError::Version { .. } | DeltaError::Failed),
        ) => Broken::Invalid(error.to_string()),
        error => Broken::Failed(error),
    }
}

/// Hands the frames of a stream on to the writer. Answers how many bytes came.
async fn read(
    job: &Job,
    mut stream: DeltaStream,
    send: &mpsc::Sender<Piece>,
) -> (u64, Result<(), Broken>) {
    let end = tokio::select! {
        () = job.stop.stopped() => Err(Broken::Stopped),
        end = frames(job, &mut stream, send) => end,
    };
    (stream.received(), end)
}

async fn frames(
    job: &Job,
    stream: &mut DeltaStream,
    send: &mpsc::Sender<Piece>,
) -> Result<(), Broken> {
    let mut counted = 0;
    let mut taker = job.rate.taker();
    loop {
        let item = stream.next().await.map_err(of_stream)?;
        taker.took(stream.received() - counted).await;
        counted = stream.received();
        let piece = match item {
            Some(Item::Data { offset, bytes }) => Piece::Data { offset, bytes },
            Some(Item::Zero { offset, length }) => Piece::Zero { offset, length },
            Some(Item::Reached(offset)) => Piece::Reached(offset),
            Some(Item::End(_)) => {
                // What follows an end makes all of it invalid.
                return match stream.next().await {
                    Ok(None) => Ok(()),
                    Ok(Some(_)) => Err(Broken::Invalid("frames follow its end".to_owned())),
                    // Everything was said and checked; how the connection ended is no matter.
                    Err(error) => match of_stream(error) {
                        invalid @ Broken::Invalid(_) => Err(invalid),
                        _ => Ok(()),
                    },
                };
            }
            Some(Item::Header(_)) => continue,
            None => return Err(Broken::Invalid("it ends without an end".to_owned())),
        };
        if send.send(piece).await.is_err() {
            // The writer has ended: it says why.
            return Err(Broken::Stopped);
        }
    }
}
