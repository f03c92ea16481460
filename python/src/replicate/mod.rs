//! A whole run. Python is called by one thread only, the one that asked for the run: what the run's
//! threads want of a writer, of the state or of the progress goes to it as a [message](calls). So a
//! writer need not be safe for threads, and Ctrl-C is heard in the middle of one.

mod calls;
mod https_writer;
mod progress;
mod store;
mod target;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coriolis_ovm_exporter::client::replicate::{
    Cancellation, Outcome, ReplicateError, Replication, StateFile,
};
use coriolis_ovm_exporter::protocol::Consistency;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Deserialize;

use crate::connection::{Connection, compression_of, json, of_json, refine_of};
use crate::errors;
use crate::waiting::GLANCE;
use calls::{Caller, Message};
pub(crate) use https_writer::HttpsWriter;
use progress::Reports;
use store::PythonStore;

/// What may be chosen, as the Python half writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    label: Option<String>,
    /// Seconds.
    expires_in: Option<u64>,
    consistency: Option<Consistency>,
    disks: Option<Vec<String>>,
    refine: String,
    compression: String,
    verify: bool,
    overwrite: bool,
    catch_up: bool,
    streams: usize,
    parallel_disks: usize,
    /// Bytes.
    least_segment: Option<u64>,
    /// Seconds.
    patience: Option<f64>,
}

impl Options {
    fn put_into(self, mut run: Replication) -> PyResult<Replication> {
        run = run
            .refine(refine_of(&self.refine)?)
            .compression(compression_of(&self.compression)?)
            .catch_up(self.catch_up)
            .streams(self.streams)
            .parallel_disks(self.parallel_disks);
        if let Some(label) = self.label {
            run = run.label(label);
        }
        if let Some(term) = self.expires_in {
            run = run.expires_in(Duration::from_secs(term));
        }
        if let Some(consistency) = self.consistency {
            run = run.consistency(consistency);
        }
        if let Some(disks) = self.disks {
            run = run.disks(disks);
        }
        if let Some(bytes) = self.least_segment {
            run = run.least_segment(bytes);
        }
        if let Some(patience) = self.patience {
            let patience = Duration::try_from_secs_f64(patience)
                .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
            run = run.patience(patience);
        }
        if self.verify {
            run = run.verified();
        }
        if self.overwrite {
            run = run.overwrite();
        }
        Ok(run)
    }
}

/// Runs a replication, and answers what it has done, in JSON.
///
/// `writers` is a directory, or called with a disk (JSON) to open its target; `state` is a path, or
/// an object with `load` and `save`; `progress` is called with an event (JSON).
#[pyfunction]
pub(crate) fn replicate(
    py: Python<'_>,
    nodes: Vec<Py<Connection>>,
    vm: String,
    writers: Writers,
    state: State,
    options: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let first = nodes
        .first()
        .ok_or_else(|| PyRuntimeError::new_err("a run needs a node"))?;
    let threads = first.get().threads.clone();
    let (sender, messages) = mpsc::channel();
    let cancellation = Cancellation::new();
    let mut run = Replication::of(vm).cancelled_by(&cancellation);
    for node in &nodes {
        node.get().threads.runtime()?;
        run = run.from(node.get().client.clone());
    }
    run = match state {
        State::Path(path) => run.state(StateFile::open(path)?),
        State::Object(object) => run.state(PythonStore::new(Caller::new(object, &sender))),
    };
    run = match writers {
        Writers::Directory(path) => run.to_files(path),
        Writers::Opener(opener) => {
            let opener = Caller::new(opener, &sender);
            run.targets(move |disk| target::open(&opener, disk))
        }
    };
    if progress.is_some() {
        run = run.progress(Reports::new(sender.clone()));
    }
    let run = of_json::<Options>(options)?.put_into(run)?;
    threads.runtime()?.spawn(async move {
        let result = run.run().await;
        let _ = sender.send(Message::Done(Box::new(result)));
    });
    let thread = CallingThread {
        messages: Mutex::new(messages),
        progress,
        cancellation,
        failure: None,
    };
    thread.serve(py)
}

/// Where the disks go.
#[derive(FromPyObject)]
pub(crate) enum Writers {
    /// Each into a file, or to a device, of its name.
    Directory(PathBuf),
    /// Where this says.
    Opener(Py<PyAny>),
}

/// Where the state is kept.
#[derive(FromPyObject)]
pub(crate) enum State {
    /// In this file.
    Path(PathBuf),
    /// Where this puts it.
    Object(Py<PyAny>),
}

/// The thread that asked for the run, and that Python is called on.
struct CallingThread {
    /// Used by this thread alone.
    messages: Mutex<Receiver<Message>>,
    progress: Option<Py<PyAny>>,
    cancellation: Cancellation,
    /// What Python raised first: a writer, the state, the progress, or a signal's handler.
    failure: Option<PyErr>,
}

impl CallingThread {
    /// Does what the run asks for until it has ended: also where it has to end early, since only
    /// then nothing of it writes any more.
    fn serve(mut self, py: Python<'_>) -> PyResult<String> {
        let result = loop {
            match self.next(py) {
                Ok(Message::Done(result)) => break result,
                Ok(Message::Event(event)) => self.report(py, &event),
                Ok(Message::Call(call)) => {
                    if let Some(failure) = call.serve(py, self.failure.is_some()) {
                        self.failure.get_or_insert(failure);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self
                        .failure
                        .unwrap_or_else(|| PyRuntimeError::new_err("the run ended badly")));
                }
            }
            if let Err(failure) = py.check_signals() {
                self.failure.get_or_insert(failure);
                self.cancellation.cancel();
            }
        };
        self.end(py, *result)
    }

    fn next(&self, py: Python<'_>) -> Result<Message, RecvTimeoutError> {
        py.detach(|| {
            let messages = self.messages.lock();
            let messages = messages.unwrap_or_else(PoisonError::into_inner);
            messages.recv_timeout(GLANCE)
        })
    }

    fn report(&mut self, py: Python<'_>, event: &str) {
        let Some(progress) = &self.progress else {
            return;
        };
        if self.failure.is_some() {
            return;
        }
        if let Err(failure) = progress.call1(py, (event,)) {
            self.failure = Some(failure);
            self.cancellation.cancel();
        }
    }

    fn end(self, py: Python<'_>, result: Result<Outcome, ReplicateError>) -> PyResult<String> {
        match (result, self.failure) {
            (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(errors::of_run(py, &error)),
            // It came too late to be one: the state has advanced.
            (Ok(_), Some(failure)) => Err(failure),
            (Ok(outcome), None) => json(&outcome),
        }
    }
}
