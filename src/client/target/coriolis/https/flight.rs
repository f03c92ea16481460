//! Chunks under way: how many, and which bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::super::awaited::Awaited;
use super::super::ending::Ending;
use super::super::gathering::overlap;

/// Of one device. Two chunks with a byte in common are never under way together: they would arrive
/// in any order, the more so where one of them is sent again.
#[derive(Debug)]
pub(super) struct Flight {
    /// So many are sent at the same time.
    most: usize,
    state: Awaited<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers that were given.
    given: u64,
    /// Those that have not arrived, by their numbers.
    under_way: Vec<(u64, Range<u64>)>,
    /// How many of them are being sent.
    sending: usize,
}

impl Flight {
    pub(super) fn new(most: usize) -> Flight {
        Flight {
            most,
            state: Awaited::new(State::default()),
        }
    }

    pub(super) fn ending(&self) -> &Ending {
        self.state.ending()
    }

    /// Whether the next chunk has to wait before it is sent.
    pub(super) fn is_full(&self) -> bool {
        self.state.now().sending >= self.most
    }

    /// For a chunk that comes next: everything that overlaps with it has arrived then.
    ///
    /// # Errors
    /// What ended the writer.
    pub(super) fn begin(self: &Arc<Flight>, range: Range<u64>) -> io::Result<Ticket> {
        let overlaps = |(_, other): &(u64, Range<u64>)| overlap(other, &range);
        let is_free = |state: &State| !state.under_way.iter().any(overlaps);
        let mut state = self.state.once(is_free)?;
        state.given += 1;
        let number = state.given;
        state.under_way.push((number, range));
        Ok(Ticket {
            flight: Arc::clone(self),
            number,
            is_sending: false,
            has_arrived: false,
        })
    }

    /// Returns when nothing is under way any more.
    pub(super) fn settle(&self) {
        self.state.wait_until(|state| state.under_way.is_empty());
    }

    /// Ends the writer.
    pub(super) fn fail(&self, error: &io::Error) {
        self.state.fail(error);
    }

    /// The same where nothing has failed here.
    pub(super) fn abandon(&self, name: &str) {
        self.state.abandon(name);
    }
}

/// A chunk under way. Where it is dropped before it has arrived, the writer has failed.
#[derive(Debug)]
pub(super) struct Ticket {
    flight: Arc<Flight>,
    number: u64,
    is_sending: bool,
    has_arrived: bool,
}

impl Ticket {
    /// Waits until it may be sent.
    ///
    /// # Errors
    /// What ended the writer.
    pub(super) fn wait_for_turn(&mut self) -> io::Result<()> {
        let has_room = |state: &State| state.sending < self.flight.most;
        self.flight.state.once(has_room)?.sending += 1;
        self.is_sending = true;
        Ok(())
    }

    pub(super) fn has_arrived(mut self) {
        self.has_arrived = true;
    }

    pub(super) fn has_failed(self, error: &io::Error) {
        self.flight.ending().fail(error);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.has_arrived {
            // Where a reason is known, that one stays.
            let error = io::Error::other("a chunk was not sent to its end");
            self.flight.ending().fail(&error);
        }
        let mut state = self.flight.state.now();
        state.under_way.retain(|(number, _)| *number != self.number);
        if self.is_sending {
            state.sending -= 1;
        }
        drop(state);
        self.flight.state.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn what_overlaps_waits_until_the_other_has_arrived() {
        let flight = Arc::new(Flight::new(8));
        let first = flight.begin(0..100).unwrap();
        let beside = flight.begin(100..200).unwrap();
        let (send, receive) = mpsc::channel();
        let waiting = thread::spawn({
            let flight = Arc::clone(&flight);
            move || {
                let ticket = flight.begin(99..101).unwrap();
                send.send(()).unwrap();
                ticket.has_arrived();
            }
        });
        assert!(receive.recv_timeout(SHORT).is_err());
        first.has_arrived();
        assert!(receive.recv_timeout(SHORT).is_err());
        beside.has_arrived();
        receive.recv().unwrap();
        waiting.join().unwrap();
        flight.settle();
        flight.ending().check().unwrap();
    }

    #[test]
    fn no_more_are_sent_than_are_allowed_and_a_failure_wakes_those_that_wait() {
        let flight = Arc::new(Flight::new(1));
        let mut first = flight.begin(0..1).unwrap();
        assert!(!flight.is_full());
        first.wait_for_turn().unwrap();
        assert!(flight.is_full());
        let mut second = flight.begin(1..2).unwrap();
        let waiting = thread::spawn(move || second.wait_for_turn().unwrap_err());
        first.has_failed(&io::Error::other("refused"));
        assert_eq!(waiting.join().unwrap().to_string(), "refused");
        flight.settle();
        assert!(flight.begin(5..6).is_err());
    }

    #[test]
    fn a_chunk_that_is_lost_is_a_failure() {
        let flight = Arc::new(Flight::new(1));
        drop(flight.begin(0..1).unwrap());
        flight.settle();
        let error = flight.ending().check().unwrap_err();
        assert!(error.to_string().contains("not sent to its end"), "{error}");
    }

    #[test]
    fn what_is_abandoned_says_so() {
        let flight = Arc::new(Flight::new(1));
        flight.abandon("web");
        let error = flight.begin(0..1).unwrap_err();
        assert!(super::super::super::ending::is_of_abandoned(&error));
    }
}
