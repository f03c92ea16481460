//! A body that counts what it sends, and is an operation from its first byte to its last.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use super::{Activities, Running, Subject};
use crate::protocol::Outcome;
use crate::server::metrics::Counter;

/// See the module. One that nobody asks for a byte (HEAD) is no operation.
#[derive(Debug)]
pub(in crate::server) struct Metered<S> {
    body: S,
    state: State,
    /// Bytes to come, where that is known.
    left: Option<u64>,
    sent: Counter,
}

#[derive(Debug)]
enum State {
    Waiting(Arc<Activities>, Subject),
    Running(Running),
    Over,
}

impl<S> Metered<S> {
    pub(in crate::server) fn new(
        body: S,
        activities: &Arc<Activities>,
        subject: Subject,
        sent: Counter,
    ) -> Metered<S> {
        Metered {
            left: subject.bytes_total,
            body,
            state: State::Waiting(activities.clone(), subject),
            sent,
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let State::Running(running) = &mut self.state {
            running.ends(outcome);
        }
        self.state = State::Over;
    }
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Stream for Metered<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        if let State::Waiting(activities, subject) = &body.state {
            body.state = State::Running(activities.begin(subject.clone(), None));
        }
        let polled = Pin::new(&mut body.body).poll_next(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => body.end(Outcome::Done),
            Poll::Ready(Some(Err(_))) => body.end(Outcome::Failed),
            Poll::Ready(Some(Ok(bytes))) => {
                let bytes = bytes.len() as u64;
                body.sent.inc_by(bytes);
                if let State::Running(running) = &body.state {
                    running.sent(bytes);
                }
                if let Some(left) = &mut body.left {
                    *left = left.saturating_sub(bytes);
                    if *left == 0 {
                        // Nobody asks for the end of what has a length.
                        body.end(Outcome::Done);
                    }
                }
            }
        }
        polled
    }
}
