//! A delta as an HTTP body: what is cached is read when it is sent, everything else is read while
//! what comes before it is sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

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
    next: Next,
    /// A step was made here, on a thread that serves others as well: they are next.
    yields: bool,
}

#[derive(Debug)]
enum Next {
    /// To be made here, if it can be.
    Here(Box<Delta>),
    /// Under way where it may block.
    Elsewhere(JoinHandle<Step>),
    /// That was the last one.
    Nothing,
}

type Step = (Box<Delta>, Result<Option<Vec<Bytes>>, SnapshotError>);

impl DeltaBody {
    pub(super) fn new(delta: Delta) -> DeltaBody {
        DeltaBody {
            pieces: VecDeque::new(),
            next: Next::Here(Box::new(delta)),
            yields: false,
        }
    }

    /// The status line is gone: the stream itself says what is wrong, or breaks off.
    fn give_up(mut delta: Box<Delta>, error: SnapshotError) -> io::Result<Bytes> {
        let error = ApiError::from(error);
        tracing::error!("a delta cannot go on: {error}");
        delta
            .give_up(&error.body())
            .ok_or_else(|| io::Error::other(error.to_string()))
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
            if std::mem::take(&mut body.yields) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match std::mem::replace(&mut body.next, Next::Nothing) {
                Next::Nothing => return Poll::Ready(None),
                Next::Here(mut delta) => match delta.step_now() {
                    Some(Ok(pieces)) => {
                        body.pieces = pieces.into();
                        body.next = Next::Here(delta);
                        body.yields = true;
                    }
                    Some(Err(error)) => {
                        return Poll::Ready(Some(DeltaBody::give_up(delta, error)));
                    }
                    None => body.next = Next::Elsewhere(begin(delta)),
                },
                Next::Elsewhere(mut step) => {
                    let Poll::Ready(done) = Pin::new(&mut step).poll(context) else {
                        body.next = Next::Elsewhere(step);
                        return Poll::Pending;
                    };
                    match done {
                        Ok((delta, Ok(Some(pieces)))) => {
                            body.pieces = pieces.into();
                            body.next = if delta.comes_next() {
                                Next::Here(delta)
                            } else {
                                Next::Elsewhere(begin(delta))
                            };
                        }
                        Ok((_, Ok(None))) => {}
                        Ok((delta, Err(error))) => {
                            return Poll::Ready(Some(DeltaBody::give_up(delta, error)));
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
    }
}
