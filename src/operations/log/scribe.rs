//! The thread that writes the log, so that a file which hangs holds nobody up.
//!
//! Whoever logs waits until the line is written, so that it is there when a request is answered or
//! the process is killed; but only for a moment. When that passes the file is taken to hang, and
//! nobody waits until it moves again. What does not fit into the queue then is lost, and counted.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::file::LogFile;
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
    closed: bool,
}

/// Another output, and who waits for it. It is taken even where it cannot be written (`insist`).
struct Order {
    opening: Opening,
    insist: bool,
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
            .spawn(move || write(&own, Output::StandardError(form)))?;
        Ok(Scribe(shared))
    }

    /// Has another output taken for all lines from now on. One that cannot be written is taken only
    /// where the caller insists; else the old one stays.
    pub(super) fn turn_to(&self, opening: Opening, insist: bool) -> io::Result<()> {
        let (done, opened) = sync_channel(1);
        self.0.lock().order = Some(Order {
            opening,
            insist,
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

/// What the thread does. It never logs by way of tracing: it would wait for itself.
fn write(shared: &Shared, mut output: Output) {
    loop {
        let idle = |desk: &mut Desk| desk.lines.is_empty() && desk.order.is_none() && !desk.closed;
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
        // What was said before another output was asked for belongs to the old one.
        for line in &lines {
            output.write(line);
        }
        if lost > 0 {
            let notice = Notice::warning(format!(
                "{lost} lines of the log after this one are lost: it was too slow"
            ));
            output.tell(&notice);
        }
        let mut desk = shared.lock();
        desk.written += lines.len() as u64;
        desk.hangs = false;
        shared.done.notify_all();
        drop(desk);
        if let Some(order) = order {
            let (fresh, opened) = (order.opening)();
            if opened.is_ok() || order.insist {
                output.give_way(fresh);
            }
            let _ = order.done.send(opened);
        }
    }
}

impl Output {
    fn write(&mut self, line: &[u8]) {
        match self {
            // What nobody reads is nobody's loss.
            Output::StandardError(_) => drop(io::stderr().write_all(line)),
            Output::File(file) => {
                if let Some(trouble) = file.append(line, Timestamp::now()) {
                    let _ = writeln!(io::stderr(), "coriolis-ovm-exporter: {trouble}");
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
