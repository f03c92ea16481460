//! A delta as an HTTP body: one step is read while the one before it is sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::error::ApiError;
use crate::snapshots::{Delta, SnapshotError};

/// See the module. Nothing is read on for a client that takes nothing, and nothing at all once
/// this is dropped.
#[derive(Debug)]
pub(super) struct DeltaBody {
    pieces: VecDeque<Bytes>,
    /// None after the last step.
    step: Option<JoinHandle<Step>>,
}

type Step = (Box<Delta>, Result<Option<Vec<Bytes>>, SnapshotError>);

impl DeltaBody {
    pub(super) fn new(delta: Delta) -> DeltaBody {
        DeltaBody {
            pieces: VecDeque::new(),
            step: Some(begin(Box::new(delta))),
        }
    }
}

fn begin(mut delta: Box<Delta>) -> JoinHandle<Step> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let step = span.in_scope(|| delta.step());
        (delta, step)
    })
}

impl Stream for DeltaBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        loop {
            if let Some(piece) = body.pieces.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            let Some(step) = &mut body.step else {
                return Poll::Ready(None);
            };
            let done = ready!(Pin::new(step).poll(context));
            body.step = None;
            match done {
                Ok((delta, Ok(Some(pieces)))) => {
                    body.pieces = pieces.into();
                    body.step = Some(begin(delta));
                }
                Ok((_, Ok(None))) => {}
                Ok((mut delta, Err(error))) => {
                    let error = ApiError::from(error);
                    tracing::error!("a delta cannot go on: {error}");
                    // The status line is gone: the stream itself says it, or breaks off.
                    let last = delta
                        .give_up(&error.body())
                        .ok_or_else(|| io::Error::other(error.to_string()));
                    return Poll::Ready(Some(last));
                }
                Err(error) => {
                    let error = io::Error::other(format!("a step ended badly: {error}"));
                    tracing::error!("a delta was cut off: {error}");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
