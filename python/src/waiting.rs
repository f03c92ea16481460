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

/// The threads that do the work of a connection, and the process that they belong to.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    runtime: Arc<Runtime>,
    process: u32,
}

impl Threads {
    pub(crate) fn start() -> PyResult<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("exporter-client")
            .enable_all()
            .build()?;
        Ok(Threads {
            runtime: Arc::new(runtime),
            process: std::process::id(),
        })
    }

    /// # Errors
    /// In a process that was forked off: threads stay behind, and a call would wait for ever.
    pub(crate) fn runtime(&self) -> PyResult<&Runtime> {
        if self.process == std::process::id() {
            return Ok(&self.runtime);
        }
        Err(PyRuntimeError::new_err(format!(
            "this client was made by process {}, and process {} was forked off from that one; log \
             in again after the fork",
            self.process,
            std::process::id()
        )))
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
