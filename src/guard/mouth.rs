//! How a guard speaks: to the daemon, and where that is gone, to standard error. It never waits
//! for somebody to listen.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::line::Said;

/// How long the end of the process waits for standard error to take what was said.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The pipe to the daemon, and standard error.
#[derive(Debug)]
pub(super) struct Mouth {
    /// None once nobody reads it.
    daemon: Option<File>,
    /// Before each line on standard error.
    name: String,
    aside: Sender<()>,
    taken: Receiver<()>,
    pending: usize,
}

impl Mouth {
    /// Speaks on standard output, which is taken over.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open() -> io::Result<Mouth> {
        let daemon = io::stdout().as_fd().try_clone_to_owned()?;
        // This end of the pipe is the guard's alone. Standard error may be shared: it stays as
        // it is.
        fcntl(&daemon, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (aside, taken) = channel();
        Ok(Mouth {
            daemon: Some(daemon.into()),
            name: "coriolis-ovm-exporter guard".to_owned(),
            aside,
            taken,
            pending: 0,
        })
    }

    /// Names what it is about, on standard error.
    pub(super) fn about(&mut self, what: &str) {
        self.name = format!("{} of {what}", self.name);
    }

    /// Says a line to the daemon, or to standard error.
    pub(super) fn say(&mut self, said: &Said) {
        let line = format!("{said}\n");
        if let Some(daemon) = &mut self.daemon {
            match daemon.write_all(line.as_bytes()) {
                Ok(()) => return,
                // A daemon that does not read for so long misses a line; it can do without.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.daemon = None,
            }
        }
        let line = format!("{}: {line}", self.name);
        let taken = self.aside.clone();
        // A thread of its own: whoever reads standard error may have stopped to.
        let started = thread::Builder::new().spawn(move || {
            let _ = io::stderr().write_all(line.as_bytes());
            let _ = taken.send(());
        });
        self.pending += usize::from(started.is_ok());
    }

    /// Waits a moment for standard error.
    pub(super) fn close(self) {
        for _ in 0..self.pending {
            if self.taken.recv_timeout(LAST_WORDS).is_err() {
                return;
            }
        }
    }
}
