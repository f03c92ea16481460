//! Where guards come from, and what becomes of what they leave.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::hold::{Hold, NotHeld};
use super::left::{self, Left};
use super::line::{Order, Task};
use super::trouble;
use crate::ovm::warning_log::WarningLog;

/// The hidden subcommand that makes a process a guard.
pub const SUBCOMMAND: &str = "guard";
/// The running program, also when its file has been replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How long one look at all that was left goes on.
const RELEASE_LIMIT: Duration = Duration::from_secs(60);
/// How long a request for a domain waits for what an earlier guard left.
const LEFT_LIMIT: Duration = Duration::from_secs(20);

/// Where guards come from.
#[derive(Debug)]
pub struct Guards {
    records: PathBuf,
    fallback: PathBuf,
    releasing: Arc<AtomicBool>,
    cautions: Arc<WarningLog>,
}

impl Guards {
    /// Guards keep their records beside `db_file`.
    #[must_use]
    pub fn new(db_file: &Path) -> Guards {
        let db_file = std::path::absolute(db_file).unwrap_or_else(|_| db_file.to_owned());
        Guards {
            records: db_file.with_file_name("pauses"),
            fallback: std::env::current_exe()
                .ok()
                .or_else(|| std::env::args_os().next().map(PathBuf::from))
                .unwrap_or_default(),
            releasing: Arc::default(),
            cautions: Arc::default(),
        }
    }

    /// Starts a guard and waits until it holds. Blocks.
    ///
    /// # Errors
    /// [`NotHeld`]: then nothing is held, or will not be for long.
    pub fn hold(&self, task: Task, max_pause: Duration) -> Result<Hold, NotHeld> {
        let programs = match &task {
            Task::Pause { programs, .. } => programs.clone(),
            Task::Command { .. } => Vec::new(),
        };
        if let Left::Held(reason) = left::release_one(&self.records, &task, &programs, LEFT_LIMIT) {
            return Err(NotHeld::failed(format!(
                "an earlier pause of it is not over: {reason}"
            )));
        }
        let order = Order {
            records: self.records.clone(),
            max_pause,
            task,
        };
        let child = self
            .start()
            .map_err(|error| NotHeld::failed(format!("cannot start a guard process: {error}")))?;
        Hold::begin(child, order, self.cautions.clone())
    }

    /// Lets go of what killed guards have left, on a thread of its own, which tries again for a
    /// minute. Waits at most `limit` until nothing is held any more.
    ///
    /// `programs` are asked beside those that the records name.
    pub fn release_left(&self, programs: Vec<PathBuf>, limit: Duration) {
        if self.releasing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (at_rest, wait) = channel();
        let records = self.records.clone();
        let releasing = self.releasing.clone();
        let started = thread::Builder::new()
            .name("let go".to_owned())
            .spawn(move || {
                let rest = || {
                    let _ = at_rest.send(());
                };
                let done = left::release_all(&records, &programs, RELEASE_LIMIT, rest);
                releasing.store(false, Ordering::Release);
                if !done {
                    tracing::error!(
                        "not every machine that is held is let go of; trying again later"
                    );
                }
            });
        if let Err(error) = started {
            self.releasing.store(false, Ordering::Release);
            tracing::error!("cannot look after machines that may be held: {error}");
            return;
        }
        let waited = wait.recv_timeout(limit);
        if !limit.is_zero() && waited == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "a machine that an earlier run paused is not unpaused yet; this goes on beside \
                 the requests"
            );
        }
    }

    /// What keeps machines from being held, or may keep one from being let go of, and waits for a
    /// hand: in words for people. Only looks. Blocks.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        trouble::of(&self.records)
    }

    fn start(&self) -> io::Result<Child> {
        let program = if Path::new(OWN_PROGRAM).exists() {
            Path::new(OWN_PROGRAM)
        } else {
            &self.fallback
        };
        Command::new(program)
            .arg0("coriolis-ovm-exporter")
            .arg(SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    }
}
