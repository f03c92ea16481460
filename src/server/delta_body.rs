//! A delta as an HTTP body: what is cached is read when it is sent, everything else is read while
//! what comes before it is sent, unless there are many streams.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::activity::metered::Ending;
use super::error::ApiError;
use super::pace::{self, Pace};
use crate::protocol::ErrorBody;
use crate::snapshots::{Delta, SnapshotError};

/// See the module. Nothing is read on for a client that takes nothing, and nothing at all once
/// this is dropped.
#[derive(Debug)]
pub(super) struct DeltaBody {
    pieces: VecDeque<Bytes>,
    next: Next,
    /// A step was taken, on a thread that serves others as well: they are next.
    yields: bool,
    /// Where packing is chosen as it goes.
    choice: Option<Choice>,
    /// The last frame says that it could not go on.
    has_failed: bool,
    /// Named in an error.
    request_id: Option<String>,
}

/// What takes the time, and what follows from it.
#[derive(Debug)]
struct Choice {
    pace: Pace,
    /// The last step was taken then.
    taken: Instant,
    /// The next one was asked for then, and was not there.
    asked: Option<Instant>,
    /// It was begun only then.
    on_demand: bool,
    /// Bytes of the disk so far.
    sent: u64,
}

#[derive(Debug)]
enum Next {
    /// To be made when it is asked for, here if it can be.
    Here(Box<Delta>),
    /// Under way where it may block.
    Elsewhere(JoinHandle<Step>),
    /// That was the last one.
    Nothing,
}

/// With the moment that it was finished.
type Step = (
    Box<Delta>,
    Result<Option<Vec<Bytes>>, SnapshotError>,
    Instant,
);

impl DeltaBody {
    pub(super) fn new(delta: Delta) -> DeltaBody {
        DeltaBody {
            pieces: VecDeque::new(),
            next: Next::Here(Box::new(delta)),
            yields: false,
            choice: None,
            has_failed: false,
            request_id: None,
        }
    }

    /// The same, and an error names this request.
    pub(super) fn of_request(mut self, id: String) -> DeltaBody {
        self.request_id = Some(id);
        self
    }

    /// The same, packed or not as it turns out to be faster.
    pub(super) fn choosing(delta: Delta) -> DeltaBody {
        DeltaBody {
            choice: Some(Choice {
                pace: Pace::new(),
                taken: Instant::now(),
                asked: None,
                on_demand: false,
                sent: 0,
            }),
            ..DeltaBody::new(delta)
        }
    }

    /// Takes the pieces of a step, which was finished at `ready`.
    fn take(&mut self, delta: &mut Delta, pieces: Vec<Bytes>, ready: Instant) {
        if let Some(choice) = &mut self.choice {
            choice.saw(delta, &pieces, ready);
            delta.pack(choice.pace.packs());
        }
        self.pieces = pieces.into();
    }

    /// The status line is gone: the stream itself says what is wrong, or breaks off.
    fn give_up(&mut self, mut delta: Box<Delta>, error: SnapshotError) -> io::Result<Bytes> {
        self.has_failed = true;
        let error = ApiError::from(error);
        tracing::error!("a delta cannot go on: {error}");
        delta
            .give_up(&ErrorBody {
                request_id: self.request_id.clone(),
                ..error.body()
            })
            .ok_or_else(|| io::Error::other(error.to_string()))
    }
}

fn begin(mut delta: Box<Delta>) -> JoinHandle<Step> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let step = span.in_scope(|| delta.step());
        (delta, step, Instant::now())
    })
}

impl Choice {
    fn saw(&mut self, delta: &Delta, pieces: &[Bytes], ready: Instant) {
        let now = Instant::now();
        let asked = self.asked.take().unwrap_or(now);
        // What was not begun before it was asked for could not lie finished: all the time until then is
        // the link's.
        let free = if std::mem::take(&mut self.on_demand) {
            self.taken
        } else {
            ready.max(self.taken)
        };
        let sent = delta.sent().max(self.sent);
        self.pace.saw(pace::Step {
            plain: sent - self.sent,
            wire: pieces.iter().map(|piece| piece.len() as u64).sum(),
            took: now - self.taken,
            held: asked.saturating_duration_since(free),
            missed: ready.saturating_duration_since(asked),
        });
        (self.taken, self.sent) = (now, sent);
    }
}

impl Ending for DeltaBody {
    fn has_failed(&self) -> bool {
        self.has_failed
    }
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
                        // Nothing was made before it was asked for: all the time until then is the
                        // link's.
                        let begun = body.choice.as_ref().map(|choice| choice.taken);
                        body.take(&mut delta, pieces, begun.unwrap_or_else(Instant::now));
                        body.next = Next::Here(delta);
                        body.yields = true;
                    }
                    Some(Err(error)) => {
                        return Poll::Ready(Some(body.give_up(delta, error)));
                    }
                    None => {
                        if let Some(choice) = &mut body.choice {
                            choice.asked = Some(Instant::now());
                            choice.on_demand = true;
                        }
                        body.next = Next::Elsewhere(begin(delta));
                    }
                },
                Next::Elsewhere(mut step) => {
                    let Poll::Ready(done) = Pin::new(&mut step).poll(context) else {
                        if let Some(choice) = &mut body.choice {
                            choice.asked.get_or_insert_with(Instant::now);
                        }
                        body.next = Next::Elsewhere(step);
                        return Poll::Pending;
                    };
                    match done {
                        Ok((mut delta, Ok(Some(pieces)), ready)) => {
                            body.take(&mut delta, pieces, ready);
                            body.yields = true;
                            body.next = if delta.comes_next() || !delta.reads_ahead() {
                                Next::Here(delta)
                            } else {
                                Next::Elsewhere(begin(delta))
                            };
                        }
                        Ok((_, Ok(None), _)) => {}
                        Ok((delta, Err(error), _)) => {
                            return Poll::Ready(Some(body.give_up(delta, error)));
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
