//! Checks that run at the same time, each in a thread, until a time limit.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::protocol::duration;

type Work = Box<dyn FnOnce(&Notes) + Send>;

/// Checks to be made at the same time.
pub(super) struct Round {
    limit: Duration,
    tasks: Vec<(Seat, Work)>,
}

/// What is known of a check while it runs.
struct Seat {
    check: &'static str,
    subject: Option<String>,
    doing: String,
    found: Vec<Finding>,
    is_done: bool,
}

/// Takes down what a check finds while it goes on: what was found before it hangs is kept.
pub(super) struct Notes {
    number: usize,
    sender: Sender<(usize, Note)>,
}

enum Note {
    Doing(Option<&'static str>, String),
    Found(Box<Finding>),
    Done { badly: bool },
}

impl Notes {
    /// What comes now, to complete "no answer while …".
    pub(super) fn doing(&self, what: impl Into<String>) {
        self.send(Note::Doing(None, what.into()));
    }

    /// The same where another check begins, for the finding that nothing came of it.
    pub(super) fn next(&self, check: &'static str, what: impl Into<String>) {
        self.send(Note::Doing(Some(check), what.into()));
    }

    pub(super) fn found(&self, finding: Finding) {
        self.send(Note::Found(Box::new(finding)));
    }

    fn send(&self, note: Note) {
        // Fails when the time is over and nobody listens any more.
        let _ = self.sender.send((self.number, note));
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let badly = thread::panicking();
        self.send(Note::Done { badly });
    }
}

impl Round {
    pub(super) fn new(limit: Duration) -> Round {
        Round {
            limit,
            tasks: Vec::new(),
        }
    }

    /// Adds a check.
    pub(super) fn add(
        &mut self,
        check: &'static str,
        subject: Option<String>,
        work: impl FnOnce(&Notes) + Send + 'static,
    ) {
        let seat = Seat {
            check,
            subject,
            doing: "it began".to_owned(),
            found: Vec::new(),
            is_done: false,
        };
        self.tasks.push((seat, Box::new(work)));
    }

    /// Runs all checks, and waits for them as long as the limit says. One that hangs is a finding;
    /// its thread is left to itself.
    pub(super) fn run(self) -> Vec<Finding> {
        let (sender, receiver) = channel();
        let mut seats = Vec::new();
        for (number, (mut seat, work)) in self.tasks.into_iter().enumerate() {
            let notes = Notes {
                number,
                sender: sender.clone(),
            };
            // Without a thread the work is dropped with its notes, which says that it is done.
            let started = thread::Builder::new().spawn(move || work(&notes));
            if let Err(error) = started {
                seat.found
                    .push(seat.trouble(&format!("it could not be started: {error}")));
            }
            seats.push(seat);
        }
        drop(sender);
        listen(&receiver, &mut seats, Instant::now() + self.limit);
        for seat in &mut seats {
            if !seat.is_done {
                let limit = duration::format(self.limit);
                let what = format!("no answer within {limit} while {}", seat.doing);
                let trouble = seat.trouble(&what);
                seat.found.push(trouble);
            }
        }
        seats.into_iter().flat_map(|seat| seat.found).collect()
    }
}

/// Until all are done, or the time is over.
fn listen(receiver: &Receiver<(usize, Note)>, seats: &mut [Seat], end: Instant) {
    while seats.iter().any(|seat| !seat.is_done) {
        let left = end.saturating_duration_since(Instant::now());
        let (number, note) = match receiver.recv_timeout(left) {
            Ok(note) => note,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        };
        let Some(seat) = seats.get_mut(number) else {
            continue;
        };
        match note {
            Note::Doing(check, what) => {
                seat.check = check.unwrap_or(seat.check);
                seat.doing = what;
            }
            Note::Found(finding) => seat.found.push(*finding),
            Note::Done { badly } => {
                seat.is_done = true;
                if badly {
                    let trouble = seat.trouble("the check itself failed");
                    seat.found.push(trouble);
                }
            }
        }
    }
}

impl Seat {
    fn trouble(&self, what: &str) -> Finding {
        let advice = "see whether storage and network answer; --time-limit sets another limit";
        let finding = Finding::bad(self.check, what, advice);
        match &self.subject {
            Some(subject) => finding.of(subject),
            None => finding,
        }
    }
}

/// What checks have put there; those that go on put more where nobody looks.
pub(super) fn taken<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::doctor::Grade;

    #[test]
    fn one_that_hangs_keeps_what_it_found_and_no_other_one() {
        let (hold, held) = channel::<()>();
        let mut round = Round::new(Duration::from_millis(300));
        round.add("slow", Some("thing".to_owned()), move |notes| {
            notes.found(Finding::good("slow", "the first half"));
            notes.doing("waiting for ever");
            let _ = held.recv();
            notes.found(Finding::good("slow", "too late"));
        });
        round.add("quick", None, |notes| {
            notes.found(Finding::good("quick", "yes"))
        });
        round.add("broken", None, |_| panic!("on purpose"));
        let found = round.run();
        drop(hold);
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.check.as_str(), found.grade))
            .collect();
        assert_eq!(
            shown,
            [
                ("slow", Grade::Good),
                ("slow", Grade::Bad),
                ("quick", Grade::Good),
                ("broken", Grade::Bad)
            ]
        );
        let hung = found[1].message.as_str();
        assert_eq!(hung, "no answer within 300ms while waiting for ever");
        assert_eq!(found[1].subject.as_deref(), Some("thing"));
    }
}
