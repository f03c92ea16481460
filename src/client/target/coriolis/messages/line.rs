//! Messages that were sent and not acknowledged.

use std::collections::VecDeque;
use std::io;
use std::sync::MutexGuard;

use super::super::awaited::Awaited;
use super::super::ending::Ending;

#[derive(Debug)]
pub(super) struct Line {
    /// So many at a time.
    most: usize,
    state: Awaited<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Their numbers, oldest first.
    under_way: VecDeque<u32>,
    /// The last message was sent.
    is_closing: bool,
}

impl Line {
    pub(super) fn new(most: usize) -> Line {
        Line {
            most,
            state: Awaited::new(State::default()),
        }
    }

    pub(super) fn ending(&self) -> &Ending {
        self.state.ending()
    }

    /// A new conversation begins.
    pub(super) fn open(&self) {
        *self.state.now() = State::default();
    }

    /// Whether the next message has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.state.now().under_way.len() >= self.most
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.state.now().under_way.is_empty()
    }

    /// Whether the last message, and so every one, was acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.now();
        state.is_closing && state.under_way.is_empty()
    }

    /// Once there is room for another one.
    fn with_room(&self) -> io::Result<MutexGuard<'_, State>> {
        self.state.once(|state| state.under_way.len() < self.most)
    }

    /// A message of this number is sent, once there is room for it.
    ///
    /// # Errors
    /// What ended the writer.
    pub(super) fn begin(&self, number: u32) -> io::Result<()> {
        self.with_room()?.under_way.push_back(number);
        Ok(())
    }

    /// The same of the last one.
    ///
    /// # Errors
    /// What ended the writer.
    pub(super) fn close(&self, number: u32) -> io::Result<()> {
        let mut state = self.with_room()?;
        state.under_way.push_back(number);
        state.is_closing = true;
        Ok(())
    }

    /// The other side has acknowledged this one.
    ///
    /// # Errors
    /// Where it is not the next one.
    pub(super) fn acknowledged(&self, number: u32) -> io::Result<()> {
        let expected = self.state.now().under_way.pop_front();
        self.state.wake();
        if expected == Some(number) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            match expected {
                Some(expected) => format!(
                    "it acknowledges message {number} in place of {expected}; see that it is \
                     write_data that answers there"
                ),
                None => format!("it acknowledges message {number}, which was not sent"),
            },
        ))
    }

    pub(super) fn fail(&self, error: &io::Error) {
        self.state.fail(error);
    }

    pub(super) fn abandon(&self, name: &str) {
        self.state.abandon(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_acknowledged_in_their_order() {
        let line = Line::new(2);
        line.begin(0).unwrap();
        line.begin(1).unwrap();
        assert!(line.is_full() && !line.is_quiet());
        line.acknowledged(0).unwrap();
        line.begin(2).unwrap();
        let error = line.acknowledged(2).unwrap_err().to_string();
        assert!(error.contains("message 2 in place of 1"), "{error}");
        line.acknowledged(2).unwrap();
        assert!(line.is_quiet() && !line.is_finished());
        line.close(3).unwrap();
        assert!(!line.is_finished());
        line.acknowledged(3).unwrap();
        assert!(line.is_finished() && line.acknowledged(4).is_err());
    }

    #[test]
    fn who_waits_is_told_of_the_end() {
        let line = Line::new(1);
        line.begin(0).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| line.begin(1).unwrap_err());
            line.fail(&io::Error::other("cut"));
            assert_eq!(waiting.join().unwrap().to_string(), "cut");
        });
        assert!(line.close(2).is_err());
    }
}
