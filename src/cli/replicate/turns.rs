//! Signals between and within runs.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::replicate::Cancellation;

/// What ends a program that repeats itself.
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    Interrupt,
    Terminate,
}

impl Came {
    /// 128 and the number of the signal, as shells say it.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(self) -> u8 {
        match self {
            Came::Interrupt => 130,
            Came::Terminate => 143,
        }
    }
}

impl Interruption {
    pub fn listen() -> std::io::Result<Interruption> {
        Ok(Interruption {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancels the run when a signal comes, and waits for its end; a second signal ends the
    /// program at once, which the state survives.
    pub async fn cancelling<T>(
        &mut self,
        run: impl Future<Output = T>,
        cancellation: &Cancellation,
    ) -> (T, Option<Came>) {
        let mut run = std::pin::pin!(run);
        let first = tokio::select! {
            done = &mut run => return (done, None),
            came = self.comes() => came,
        };
        cancellation.cancel();
        tokio::select! {
            done = &mut run => (done, Some(first)),
            second = self.comes() => std::process::exit(second.code().into()),
        }
    }

    /// Waits so long, unless a signal comes: true then.
    pub async fn comes_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.comes()).await.is_ok()
    }

    async fn comes(&mut self) -> Came {
        tokio::select! {
            _ = self.interrupt.recv() => Came::Interrupt,
            _ = self.terminate.recv() => Came::Terminate,
        }
    }
}
