//! Waiting for what happens on the runtime's threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

/// How often a waiting thread looks whether a signal came.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);
/// Threads that speak to nodes; targets have others.
const THREADS: usize = 2;

/// The threads that do the work of a connection. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<Pool>);

/// A runtime, and the process that its threads belong to.
#[derive(Debug)]
struct Pool {
    /// Some, until it is dropped.
    runtime: Option<Runtime>,
    process: u32,
}

impl Pool {
    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if self.is_ours() {
            // Whoever drops it holds the GIL, and must not wait.
            runtime.shutdown_background();
        } else {
            // The threads stayed behind at the fork: nobody would answer.
            std::mem::forget(runtime);
        }
    }
}

impl Threads {
    pub(crate) fn start() -> PyResult<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("exporter-client")
            .enable_all()
            .build()?;
        Ok(Threads(Arc::new(Pool {
            runtime: Some(runtime),
            process: std::process::id(),
        })))
    }

    /// # Errors
    /// In a process that was forked off: threads stay behind, and a call would wait for ever.
    pub(crate) fn runtime(&self) -> PyResult<&Runtime> {
        match &self.0.runtime {
            Some(runtime) if self.0.is_ours() => Ok(runtime),
            _ => Err(PyRuntimeError::new_err(format!(
                "this client was made by process {}, and process {} was forked off from that one; \
                 log in again after the fork",
                self.0.process,
                std::process::id()
            ))),
        }
    }

    /// Waits for it without the GIL.
    ///
    /// # Errors
    /// What a signal's handler raises meanwhile, such as `KeyboardInterrupt`: then it is given up.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        py: Python<'_>,
        call: impl Future<Output = T> + Send + 'static,
    ) -> PyResult<T> {
        let (send, receive) = mpsc::sync_channel(1);
        let task = self.runtime()?.spawn(async move {
            let _ = send.send(call.await);
        });
        // A receiver is used by one thread at a time; detaching wants to hear that.
        let receive = std::sync::Mutex::new(receive);
        loop {
            let got = py.detach(|| {
                let receive = receive
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                receive.recv_timeout(GLANCE)
            });
            match got {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("the call ended badly"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = py.check_signals() {
                        task.abort();
                        return Err(error);
                    }
                }
            }
        }
    }
}
