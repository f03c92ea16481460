//! The daemon's side of one guard: hearing what it says, telling it to let go, and letting go in
//! its place where it was killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ears::RELEASE;
use super::left::{self, Left};
use super::line::{Cause, Order, Refusal, Said, Task};
use super::watch::Watch;
use crate::ovm::warning_log::WarningLog;

/// How long a guard may take to say its first word.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take, beside the pause or the command, until it holds: another guard's record,
/// two lists.
const TAKE_LIMIT: Duration = Duration::from_secs(35);
/// How long a guard may take to answer the word to let go. One that does not, because somebody has
/// stopped it, is killed, and what it held is let go of in its place.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long after `max_pause` a guard that has not begun to let go is killed: somebody has stopped
/// it, and perhaps the storage hangs, too, so that nobody has told it to let go.
const GRACE: Duration = Duration::from_secs(1);
/// How long its last word is waited for. It goes on without being waited for.
const LET_GO_LIMIT: Duration = Duration::from_secs(15);
/// How long a domain whose guard was killed is cared for at once; later it is recovery's.
const LOST_LIMIT: Duration = Duration::from_secs(40);

/// Why nothing is held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotHeld {
    /// What kind of reason.
    pub refusal: Refusal,
    /// In words for people.
    pub reason: String,
}

impl NotHeld {
    /// It could not be done.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> NotHeld {
        NotHeld {
            refusal: Refusal::Failed,
            reason: reason.into(),
        }
    }
}

/// A guard that holds.
#[derive(Debug)]
pub struct Hold {
    // Dropping it is a reason to let go, too.
    daemon_end: ChildStdin,
    guard: u32,
    heard: Receiver<Heard>,
    warnings: Vec<String>,
    /// It has said that it lets go: it is at work.
    letting_go: bool,
    /// It has said its last word, or was lost.
    done: bool,
}

/// How a hold ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetGo {
    /// Whether it lasted until it was released.
    pub lasted: bool,
    /// Why it did not, where it did not.
    pub reason: Option<String>,
    /// How long the machine was held, at most; None where that is not known yet.
    pub held: Option<Duration>,
    /// What did not go as it should have, in words for people.
    pub warnings: Vec<String>,
}

/// What the thread that listens to a guard passes on.
#[derive(Debug)]
enum Heard {
    Said(Said),
    /// The guard is dead, and was not done. What it held is let go of, or not yet.
    Lost {
        released: bool,
    },
}

impl Hold {
    /// Tells a guard that has just been started what to hold, and waits until it does.
    /// What is wrong with every guard is said to `cautions`.
    pub(super) fn begin(
        mut child: Child,
        order: Order,
        cautions: Arc<WarningLog>,
    ) -> Result<Hold, NotHeld> {
        let line = order
            .to_line()
            .map_err(|error| NotHeld::failed(format!("the guard cannot be told: {error}")))?;
        let work_limit = match &order.task {
            Task::Pause { .. } => order.max_pause,
            // Before, and after it where that failed.
            Task::Command { timeout, .. } => *timeout * 2,
        };
        let (Some(daemon_end), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(NotHeld::failed("a guard process without pipes"));
        };
        let guard = child.id();
        let (send, heard) = channel();
        let span = tracing::Span::current();
        thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || span.in_scope(|| listen(child, output, &order, &send, &cautions)))
            .map_err(|error| NotHeld::failed(format!("cannot start a thread: {error}")))?;
        let mut hold = Hold {
            daemon_end,
            guard,
            heard,
            warnings: Vec::new(),
            letting_go: false,
            done: false,
        };
        let held = hold
            .wait_for_ready()
            .and_then(|()| {
                hold.daemon_end
                    .write_all(line.as_bytes())
                    .map_err(|error| format!("the guard process does not listen: {error}"))
            })
            .map_err(NotHeld::failed)
            .and_then(|()| hold.wait_until_held(TAKE_LIMIT + work_limit));
        if held.is_err() && !hold.done && !hold.letting_go {
            // It may have been stopped, with a machine that stands still.
            hold.kill_guard();
        }
        held.map(|()| hold)
    }

    /// Only while it has not been waited for: until then its id is its own.
    fn kill_guard(&self) {
        tracing::error!(
            guard = self.guard,
            "the guard process does not answer: it is killed"
        );
        if let Ok(id) = i32::try_from(self.guard) {
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }

    fn wait_for_ready(&mut self) -> Result<(), String> {
        match self.next(READY_LIMIT) {
            Ok(Said::Ready) => Ok(()),
            Ok(other) => Err(format!("the guard process began with {other:?}")),
            Err(reason) => Err(reason),
        }
    }

    fn wait_until_held(&mut self, limit: Duration) -> Result<(), NotHeld> {
        let deadline = Instant::now() + limit;
        let mut ended = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left).map_err(NotHeld::failed)? {
                Said::Held(_) => return Ok(()),
                Said::Refused(refusal, reason) => return Err(NotHeld { refusal, reason }),
                Said::LettingGo(cause) => ended = Some(cause),
                Said::LetGo(_) => {
                    return Err(NotHeld::failed(match ended {
                        Some(Cause::Expired) => {
                            "pausing it took longer than [snapshots] max_pause".to_owned()
                        }
                        cause => why(cause.unwrap_or(Cause::Failed)),
                    }));
                }
                Said::Ready
                | Said::Pausing
                | Said::Warning(_)
                | Said::Caution(_)
                | Said::Note(_) => {}
            }
        }
    }

    /// The next thing that the guard says; its warnings are kept beside.
    fn next(&mut self, limit: Duration) -> Result<Said, String> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Heard::Said(Said::Warning(text))) => {
                    tracing::warn!(guard = self.guard, "{text}");
                    if !self.warnings.contains(&text) {
                        self.warnings.push(text);
                    }
                }
                Ok(Heard::Said(said)) => {
                    self.letting_go |= matches!(said, Said::LettingGo(_));
                    self.done |= said.is_last();
                    return Ok(said);
                }
                Ok(Heard::Lost { released: true }) => {
                    self.done = true;
                    return Err(
                        "the guard process was killed; what it held is let go of".to_owned()
                    );
                }
                Ok(Heard::Lost { released: false }) => {
                    self.done = true;
                    return Err(
                        "the guard process was killed; what it held is not let go of yet, and this \
                         goes on"
                            .to_owned(),
                    );
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err("the guard process does not answer".to_owned());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.done = true;
                    return Err("the guard process has ended".to_owned());
                }
            }
        }
    }

    /// Tells the guard to let go and waits until it has. Blocks.
    #[must_use]
    pub fn release(mut self) -> LetGo {
        // Where the guard has let go by itself, nobody reads this.
        let _ = self.daemon_end.write_all(format!("{RELEASE}\n").as_bytes());
        let mut ended = LetGo {
            lasted: false,
            reason: None,
            held: None,
            warnings: Vec::new(),
        };
        let mut deadline = Instant::now() + ANSWER_LIMIT;
        let mut killed = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left) {
                Ok(Said::LetGo(held)) => {
                    ended.held = Some(held);
                    break;
                }
                Ok(said) => {
                    match said {
                        Said::LettingGo(Cause::Released) => ended.lasted = true,
                        Said::LettingGo(cause) => ended.reason = Some(why(cause)),
                        _ => continue,
                    }
                    deadline = Instant::now() + LET_GO_LIMIT;
                }
                // Now the thread that listens lets go in its place.
                Err(_) if !self.letting_go && !self.done && !killed => {
                    self.kill_guard();
                    killed = true;
                    deadline = Instant::now() + LET_GO_LIMIT;
                }
                Err(reason) if ended.lasted => {
                    self.warnings.push(format!(
                        "it is not certain that the machine has been let go of: {reason}"
                    ));
                    break;
                }
                Err(reason) => {
                    ended.reason.get_or_insert(reason);
                    break;
                }
            }
        }
        ended.warnings = self.warnings;
        ended
    }
}

fn why(cause: Cause) -> String {
    match cause {
        Cause::Expired => "the clones took longer than [snapshots] max_pause".to_owned(),
        Cause::Undone => {
            "when the clones were made it was not paused any more, or that cannot be told: \
             somebody else has unpaused it, or it has left this node"
                .to_owned()
        }
        Cause::Signal(number) => format!("its guard process got signal {number}"),
        Cause::Released | Cause::HungUp | Cause::Failed => format!("its guard let go ({cause})"),
    }
}

/// Passes on what a guard says until it ends; where it ends too early, does the rest of its work.
fn listen(
    mut child: Child,
    output: ChildStdout,
    order: &Order,
    send: &Sender<Heard>,
    cautions: &WarningLog,
) {
    let mut done = false;
    let watch = Watch::over(child.id());
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let said = Said::parse(&line);
        match (&said, &order.task) {
            (Some(Said::Pausing), Task::Pause { .. })
            | (Some(Said::Held(_)), Task::Command { .. }) => {
                watch.begin(order.max_pause + GRACE);
            }
            (Some(Said::LettingGo(_) | Said::LetGo(_) | Said::Refused(..)), _) => watch.end(),
            _ => {}
        }
        match said {
            // Nobody listens any more when the last ones are said.
            Some(Said::Caution(text)) => cautions.tell(&[text]),
            Some(Said::Note(text)) => tracing::info!(guard = child.id(), "{text}"),
            Some(said) => {
                done |= said.is_last();
                // Whoever waited may have given up, or have heard enough.
                if let Err(unheard) = send.send(Heard::Said(said)) {
                    tracing::info!(guard = child.id(), "nobody hears {:?}", unheard.0);
                }
            }
            None => tracing::warn!("the guard says {line:?}"),
        }
    }
    // From here on its process id may become somebody else's.
    watch.end();
    // Its record's lock goes with its last breath, not with its pipe.
    let _ = child.wait();
    let programs = match &order.task {
        Task::Pause { programs, .. } => programs.as_slice(),
        Task::Command { .. } => &[],
    };
    let left = left::let_go_of(&order.records, &order.task, programs, LOST_LIMIT);
    if !done {
        let released = left == Left::Nothing;
        let _ = send.send(Heard::Lost { released });
    }
    if let Left::Held(reason) = left::release_one(&order.records, &order.task, programs, LOST_LIMIT)
    {
        tracing::error!("what a guard held is not let go of; recovery goes on with it: {reason}");
    }
}
