//! What a guard listens to: its standard input, and every signal that can be caught.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::read;

use super::line::Cause;

/// The daemon's word to let go.
pub(super) const RELEASE: &str = "release";
/// Far more than an order has, in bytes.
const MAX_LINE: usize = 1 << 20;

/// The daemon's pipe and the signals. What was heard stays heard.
#[derive(Debug)]
pub(super) struct Ears<I> {
    input: I,
    signals: SignalFd,
    unread: Vec<u8>,
    lines: VecDeque<String>,
    cause: Option<Cause>,
}

impl<I: AsFd> Ears<I> {
    /// Blocks every signal for this thread, and for those that it starts, and listens to them
    /// here instead.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open(input: I) -> io::Result<Ears<I>> {
        let all = SigSet::all();
        all.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Ears {
            input,
            signals: SignalFd::with_flags(&all, flags)?,
            unread: Vec::new(),
            lines: VecDeque::new(),
            cause: None,
        })
    }

    /// The first line, which is the order; None when there is a reason to end instead.
    pub(super) fn order(&mut self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        while self.lines.is_empty() && self.cause.is_none() && Instant::now() < deadline {
            self.take_in(deadline.saturating_duration_since(Instant::now()));
        }
        self.lines.pop_front()
    }

    /// Waits for a reason to let go, for so long.
    pub(super) fn listen(&mut self, limit: Duration) -> Option<Cause> {
        let deadline = Instant::now() + limit;
        loop {
            // What came first is the reason.
            if let Some(line) = self.lines.pop_front() {
                // A word that nobody knows is none to hold on.
                let cause = if line == RELEASE {
                    Cause::Released
                } else {
                    Cause::HungUp
                };
                self.cause = Some(cause);
            }
            if self.cause.is_some() {
                return self.cause;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.take_in(left);
            if left.is_zero() && self.lines.is_empty() {
                return self.cause;
            }
        }
    }

    /// Takes in what is there, waiting at most so long for anything.
    fn take_in(&mut self, limit: Duration) {
        let (spoken, signalled) = {
            let mut ends = [
                PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            // Rounded up: a millisecond too late, and never busy.
            let limit = limit.as_micros().div_ceil(1000);
            let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
            if poll(&mut ends, limit).is_err() {
                return;
            }
            let ready = |end: &PollFd<'_>| end.any() == Some(true);
            (ready(&ends[0]), ready(&ends[1]))
        };
        if spoken {
            self.read_input();
        }
        if signalled {
            self.read_signals();
        }
    }

    fn read_input(&mut self) {
        let mut block = [0; 4096];
        match read(self.input.as_fd(), &mut block) {
            Ok(length) if length > 0 && self.unread.len() < MAX_LINE => {
                self.unread.extend_from_slice(&block[..length]);
                while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.unread.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line[..end]).into_owned();
                    self.lines.push_back(line);
                }
            }
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
            Ok(_) | Err(_) => {
                self.cause.get_or_insert(Cause::HungUp);
            }
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = signal.ssi_signo;
            let own = [Signal::SIGCHLD, Signal::SIGPIPE]
                .iter()
                .any(|own| u32::try_from(*own as i32) == Ok(number));
            // Those are about programs that it has started, and a daemon that is gone.
            if !own {
                self.cause.get_or_insert(Cause::Signal(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write as _, pipe};

    use nix::sys::signal::raise;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Signals are for a thread of its own: its mask ends with it.
    fn listening<T: Send + 'static>(
        work: impl FnOnce(Ears<io::PipeReader>, PipeWriter) -> T + Send + 'static,
    ) -> T {
        std::thread::spawn(move || {
            let (reader, writer) = pipe().unwrap();
            work(Ears::open(reader).unwrap(), writer)
        })
        .join()
        .unwrap()
    }

    #[test]
    fn the_order_comes_first_and_then_the_word() {
        listening(|mut ears, mut pipe| {
            pipe.write_all(b"{}\nrel").unwrap();
            assert_eq!(ears.order(LONG).as_deref(), Some("{}"));
            assert_eq!(ears.listen(Duration::from_millis(20)), None);
            pipe.write_all(b"ease\n").unwrap();
            drop(pipe);
            assert_eq!(ears.listen(LONG), Some(Cause::Released));
            assert_eq!(ears.listen(Duration::ZERO), Some(Cause::Released));
        });
    }

    #[test]
    fn the_end_of_the_pipe_and_unknown_words_are_reasons_too() {
        listening(|mut ears, pipe| {
            drop(pipe);
            assert_eq!(ears.order(LONG), None);
            assert_eq!(ears.listen(LONG), Some(Cause::HungUp));
        });
        listening(|mut ears, mut pipe| {
            pipe.write_all(b"hold on\n").unwrap();
            assert_eq!(ears.listen(LONG), Some(Cause::HungUp));
        });
    }

    #[test]
    fn every_signal_that_can_be_caught_is_heard() {
        for signal in Signal::iterator() {
            if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
                continue;
            }
            let heard = listening(move |mut ears, _pipe| {
                raise(signal).unwrap();
                ears.listen(Duration::from_millis(50))
            });
            let expected = match signal {
                Signal::SIGCHLD | Signal::SIGPIPE => None,
                other => Some(Cause::Signal(u32::try_from(other as i32).unwrap())),
            };
            assert_eq!(heard, expected, "{signal}");
        }
    }
}
