use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};

use super::message::meaning;

/// A way to `write_data` on a worker, and back.
pub struct MessageStream {
    pub(super) input: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) output: Box<dyn AsyncRead + Send + Unpin>,
    child: Option<Child>,
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream")
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

impl MessageStream {
    /// Of what takes messages and what acknowledges them, such as a channel of an SSH library's.
    /// Whoever has made them sees to it that what was written gets to storage afterwards (`sync DEVICE`;
    /// `sync` alone tells of no error).
    #[must_use]
    pub fn of(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncRead + Send + Unpin + 'static,
    ) -> MessageStream {
        MessageStream {
            input: Box::new(input),
            output: Box::new(output),
            child: None,
        }
    }

    /// Of standard input and output of a program, such as `ssh worker 'sudo flock /dev/vdb sh -c
    /// "./write_data && sync /dev/vdb"'`. It has to exit with 0 after the last message, and is killed where
    /// the run ends before; what it has started elsewhere is not, which is why the lock is taken.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn of_command(command: std::process::Command) -> io::Result<MessageStream> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
            })?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| io::Error::other("it has no pipes"))?;
        Ok(MessageStream {
            child: Some(child),
            ..MessageStream::of(input, output)
        })
    }

    /// The program that is spoken to.
    pub(super) fn take_child(&mut self) -> Option<Program> {
        self.child.take().map(Program)
    }
}

/// A program that is spoken to.
pub(super) struct Program(Child);

impl Program {
    /// How it ends, if it does within this time.
    pub(super) async fn end(&mut self, within: Duration) -> io::Result<()> {
        match tokio::time::timeout(within, self.0.wait()).await {
            Ok(status) => told(status?),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the program has not ended within {} s", within.as_secs()),
            )),
        }
    }
}

impl Program {
    /// Ends it now, and returns when it is gone.
    pub(super) async fn kill(&mut self) {
        if let Err(error) = self.0.kill().await {
            tracing::debug!(%error, "a program was not killed");
        }
    }
}

fn told(status: ExitStatus) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let why = status.code().map_or("see what it has said itself", meaning);
    Err(io::Error::other(format!(
        "the program has ended, {status}; {why}"
    )))
}
