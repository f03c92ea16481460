//! The thread that writes the log, so that a file which hangs holds nobody up.
//!
//! Whoever logs waits until the line is written, so that it is there when a request is answered or
//! the process is killed; but only for a moment. When that passes the file is taken to hang, and
//! nobody waits until it moves again. What does not fit into the queue then is lost, and counted.
//!
//! Another output that cannot be had yet stays wished for: it is tried again, when there is something to
//! write, until it can or something else is asked for. Meanwhile the old one is written to.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::file::{LogFile, Rotation};
use super::notice::{Form, Notice};

/// How long a line is waited for.
const MOMENT: Duration = Duration::from_millis(100);
/// How long a new file is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of lines that wait.
const ROOM: usize = 1 << 20;

/// What lines go to.
#[derive(Debug)]
pub(super) enum Output {
    StandardError(Form),
    File(Box<LogFile>),
}

/// What lines go to now, once it was taken: `None` is standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) file: Option<PathBuf>,
    /// `None`: nobody here rotates it.
    pub(super) rotation: Option<Rotation>,
}

/// Makes an output where it may take its time; `Err` beside it where it cannot be written yet.
pub(super) type Opening = Box<dyn FnOnce() -> (Output, io::Result<()>) + Send>;

/// Hands lines to the thread, which ends with this.
#[derive(Debug)]
pub(super) struct Scribe(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    desk: Mutex<Desk>,
    /// There is something to do.
    work: Condvar,
    /// Lines are written.
    done: Condvar,
}

#[derive(Default)]
struct Desk {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines ever laid down, and ever written.
    laid: u64,
    written: u64,
    hangs: bool,
    lost: u64,
    order: Option<Order>,
    in_use: InUse,
    closed: bool,
}

/// Another output, and who waits for it. It is taken even where it cannot be written (`insist`).
struct Order {
    opening: Opening,
    insist: bool,
    asked: Instant,
    done: SyncSender<io::Result<()>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Desk")
    }
}

impl Scribe {
    /// Starts the thread. Until it is told otherwise, it writes to standard error.
    pub(super) fn start(form: Form) -> io::Result<Scribe> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || Writer::beginning_with(Output::StandardError(form)).serve(&own))?;
        Ok(Scribe(shared))
    }

    /// Has another output taken for all lines from now on. One that cannot be written is taken at once
    /// only where the caller insists; else the old one stays until it can be. So it does where the file
    /// system does not answer: when that takes place after all, the log says so.
    pub(super) fn turn_to(&self, opening: Opening, insist: bool) -> io::Result<()> {
        let (done, opened) = sync_channel(1);
        self.0.lock().order = Some(Order {
            opening,
            insist,
            asked: Instant::now(),
            done,
        });
        self.0.work.notify_one();
        opened.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Err(io::Error::other(match error {
                RecvTimeoutError::Timeout => "the log's file system does not answer",
                RecvTimeoutError::Disconnected => "the log's thread has ended",
            }))
        })
    }

    /// What lines go to now.
    pub(super) fn in_use(&self) -> InUse {
        self.0.lock().in_use.clone()
    }

    /// Has a line written.
    pub(super) fn put(&self, line: &[u8]) {
        let mut desk = self.0.lock();
        if desk.bytes + line.len() > ROOM {
            desk.lost += 1;
            return;
        }
        desk.bytes += line.len();
        desk.lines.push_back(line.to_vec());
        desk.laid += 1;
        let mine = desk.laid;
        self.0.work.notify_one();
        if desk.hangs {
            return;
        }
        let unwritten = |desk: &mut Desk| desk.written < mine && !desk.hangs;
        let (mut desk, waited) = self
            .0
            .done
            .wait_timeout_while(desk, MOMENT, unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        desk.hangs |= waited.timed_out();
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with. It never logs by way of tracing: it would wait for itself.
struct Writer {
    output: Output,
    /// What was asked for, and cannot be written yet.
    wished: Option<Box<LogFile>>,
}

impl Writer {
    fn beginning_with(output: Output) -> Writer {
        Writer {
            output,
            wished: None,
        }
    }

    fn serve(mut self, shared: &Shared) {
        loop {
            let idle =
                |desk: &mut Desk| desk.lines.is_empty() && desk.order.is_none() && !desk.closed;
            let mut desk = shared
                .work
                .wait_while(shared.lock(), idle)
                .unwrap_or_else(PoisonError::into_inner);
            if desk.closed && desk.lines.is_empty() {
                return;
            }
            let lines = std::mem::take(&mut desk.lines);
            let lost = std::mem::take(&mut desk.lost);
            let order = desk.order.take();
            desk.bytes = 0;
            drop(desk);
            if !lines.is_empty() && self.try_again() {
                shared.lock().in_use = self.output.in_use();
            }
            // What was said before another output was asked for belongs to the old one.
            for line in &lines {
                self.write(line);
            }
            if lost > 0 {
                let notice = Notice::warning(format!(
                    "{lost} lines of the log after this one are lost: it was too slow"
                ));
                self.output.tell(&notice);
            }
            let mut desk = shared.lock();
            desk.written += lines.len() as u64;
            desk.hangs = false;
            shared.done.notify_all();
            drop(desk);
            if let Some(order) = order {
                self.obey(order, shared);
            }
        }
    }

    /// Takes what is wished for, if it can be had by now.
    fn try_again(&mut self) -> bool {
        let Some(mut wished) = self.wished.take() else {
            return false;
        };
        if !wished.try_again() {
            self.wished = Some(wished);
            return false;
        }
        self.take_late(Output::File(wished));
        true
    }

    fn write(&mut self, line: &[u8]) {
        self.output.write(line);
        // It was moved away, as we were told, and removed: nobody will ever read this one.
        if self.wished.is_some() && self.output.is_nameless() {
            let _ = io::stderr().write_all(line);
        }
    }

    /// Takes the output that an order asks for, or wishes for it.
    fn obey(&mut self, order: Order, shared: &Shared) {
        let (fresh, opened) = (order.opening)();
        let superseded = shared.lock().order.is_some();
        if superseded && !order.insist {
            let _ = order
                .done
                .send(Err(io::Error::other("another log was asked for")));
            return;
        }
        // Nobody waits any more: only the log itself can say what became of it.
        let late = order.asked.elapsed() >= PATIENCE;
        self.wished = None;
        match &opened {
            Ok(()) if late => self.take_late(fresh),
            Ok(()) => self.output.give_way(fresh),
            Err(_) if order.insist => self.output.give_way(fresh),
            Err(error) => {
                if late {
                    let text = format!("{error}; it is tried again from time to time");
                    self.output.tell(&Notice::warning(text));
                }
                if let Output::File(file) = fresh {
                    self.wished = Some(file);
                }
            }
        }
        shared.lock().in_use = self.output.in_use();
        let _ = order.done.send(opened);
    }

    /// Takes an output later than it was asked for, and says where to look for what was said meanwhile.
    fn take_late(&mut self, fresh: Output) {
        let earlier = match &self.output {
            Output::StandardError(_) => "standard error".to_owned(),
            Output::File(file) => format!("what was opened as {}", file.path().display()),
        };
        self.output.give_way(fresh);
        let text = format!(
            "this log could be opened only now; what was said since it was asked for is in {earlier}"
        );
        self.output.tell(&Notice::warning(text));
    }
}

impl Output {
    fn write(&mut self, line: &[u8]) {
        match self {
            // What nobody reads is nobody's loss.
            Output::StandardError(_) => drop(io::stderr().write_all(line)),
            Output::File(file) => {
                if let Err(unwritten) = file.append(line, Timestamp::now()) {
                    let mut other = io::stderr();
                    if let Some(trouble) = unwritten.trouble {
                        let _ = writeln!(other, "coriolis-ovm-exporter: {trouble}");
                    }
                    let _ = other.write_all(line);
                }
            }
        }
    }

    fn tell(&mut self, notice: &Notice) {
        let mut line = Vec::new();
        notice.write(self.form(), &mut line);
        self.write(&line);
    }

    fn form(&self) -> Form {
        match self {
            Output::StandardError(form) => *form,
            Output::File(file) => file.form(),
        }
    }

    fn in_use(&self) -> InUse {
        match self {
            Output::StandardError(_) => InUse::default(),
            Output::File(file) => InUse {
                file: Some(file.path().to_owned()),
                rotation: file.rotation(),
            },
        }
    }

    fn is_nameless(&self) -> bool {
        matches!(self, Output::File(file) if file.is_nameless())
    }

    /// Another one takes its place, and says what this one could not.
    fn give_way(&mut self, mut fresh: Output) {
        if let (Output::File(old), Output::File(new)) = (&mut *self, &mut fresh) {
            new.succeed(old);
        }
        *self = fresh;
    }
}

#[cfg(test)]
#[path = "scribe_tests.rs"]
mod tests;
