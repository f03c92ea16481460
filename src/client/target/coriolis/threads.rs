//! Threads of a writer's own: a target is called by threads that may block, inside of a runtime or
//! not.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle, Runtime};

/// They speak to one worker.
const COUNT: usize = 2;

/// Clones share them; they end with the last one.
#[derive(Debug, Clone)]
pub(super) struct Threads(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    /// Some, until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without waiting: that is not allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    pub(super) fn start() -> io::Result<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(COUNT)
            .thread_name("exporter-writer")
            .enable_all()
            .build()?;
        Ok(Threads(Arc::new(Pool {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })))
    }

    /// Has it done, some time. The threads live until it is.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let threads = self.clone();
        self.0.handle.spawn(async move {
            work.await;
            drop(threads);
        });
    }

    /// The same for what blocks.
    pub(super) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        let threads = self.clone();
        self.0.handle.spawn_blocking(move || {
            work();
            drop(threads);
        });
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Where it panics.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let (send, receive) = mpsc::sync_channel(1);
        self.spawn(async move {
            let _ = send.send(work.await);
        });
        let done = receive.recv();
        done.map_err(|_| io::Error::other("a call to the worker ended badly"))
    }
}
