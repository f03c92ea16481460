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

/// What a body says of itself when it has come to its end.
pub(in crate::server) trait Ending {
    /// Whether it said inside that it could not go on, and ended in order.
    fn has_failed(&self) -> bool {
        false
    }
}

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

impl<S: Stream<Item = io::Result<Bytes>> + Ending + Unpin> Stream for Metered<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        if let State::Waiting(activities, subject) = &body.state {
            body.state = State::Running(activities.begin(subject.clone(), None));
        }
        let polled = Pin::new(&mut body.body).poll_next(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) if body.body.has_failed() => body.end(Outcome::Failed),
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

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::protocol::OperationKind;

    /// Sends so many bytes, and says whether that was all.
    struct Sent(Option<&'static [u8]>, bool);

    impl Ending for Sent {
        fn has_failed(&self) -> bool {
            self.1
        }
    }

    impl Stream for Sent {
        type Item = io::Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Bytes::from_static(bytes))))
        }
    }

    #[tokio::test]
    async fn a_body_that_says_inside_that_it_failed_is_not_told_as_done() {
        for (has_failed, outcome) in [(true, Outcome::Failed), (false, Outcome::Done)] {
            let activities = Activities::new();
            let subject = Subject {
                kind: OperationKind::Delta,
                vm_id: "vm".to_owned(),
                snapshot_id: None,
                disk: None,
                bytes_total: None,
            };
            let begun = activities.look(0).number;
            let body = Sent(Some(b"a frame"), has_failed);
            let mut metered = Metered::new(body, &activities, subject, Counter::default());
            while metered.next().await.is_some() {}
            drop(metered);
            let ended = activities.look(begun).ended;
            assert_eq!(ended.len(), 1);
            assert_eq!(ended[0].outcome, Some(outcome));
        }
    }
}
