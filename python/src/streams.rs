//! A download and a delta, piece by piece.

use std::future::Future;
use std::sync::Arc;

use coriolis_ovm_exporter::client::{ClientError, DeltaStream};
use coriolis_ovm_exporter::protocol::delta::Item;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use tokio::sync::Mutex;

use crate::connection::json;
use crate::errors;
use crate::waiting::Threads;

/// A stream that one call at a time takes something from.
struct Stream<T> {
    inner: Arc<Mutex<T>>,
    threads: Threads,
}

impl<T: Send + 'static> Stream<T> {
    fn new(inner: T, threads: Threads) -> Stream<T> {
        Stream {
            inner: Arc::new(Mutex::new(inner)),
            threads,
        }
    }

    fn ask<A, F>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(tokio::sync::OwnedMutexGuard<T>) -> F + Send + 'static,
    ) -> PyResult<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, ClientError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        self.threads
            .wait(py, async move { call(inner.lock_owned().await).await })?
            .map_err(|error| errors::of_client(py, &error))
    }
}

/// The bytes of a snapshot's disk as they come.
#[pyclass(frozen, module = "coriolis_ovm_exporter._native")]
pub(crate) struct Download {
    stream: Stream<Option<reqwest::Response>>,
}

impl Download {
    pub(crate) fn new(response: reqwest::Response, threads: Threads) -> Download {
        Download {
            stream: Stream::new(Some(response), threads),
        }
    }
}

#[pymethods]
impl Download {
    /// The next bytes, as many as have come; none after the end.
    fn next_piece<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let piece = self
            .stream
            .ask(py, async move |mut response| match response.as_mut() {
                Some(response) => Ok(response.chunk().await?),
                None => Ok(None),
            })?;
        Ok(PyBytes::new(py, piece.as_deref().unwrap_or_default()))
    }

    /// Lets go of the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stream.ask(py, async move |mut response| {
            *response = None;
            Ok(())
        })
    }
}

/// A delta as it comes: its header, and an iterator over its frames.
#[pyclass(frozen, module = "coriolis_ovm_exporter._native")]
pub(crate) struct Delta {
    header: String,
    stream: Stream<Option<DeltaStream>>,
}

impl Delta {
    pub(crate) fn new(stream: DeltaStream, threads: Threads) -> PyResult<Delta> {
        Ok(Delta {
            header: json(stream.header())?,
            stream: Stream::new(Some(stream), threads),
        })
    }
}

#[pymethods]
impl Delta {
    /// What it is about, in JSON.
    #[getter]
    fn header(&self) -> &str {
        &self.header
    }

    /// `("data", offset, bytes)`, `("zero", offset, length)` or `("reached", offset, None)`. Ends
    /// when the end has come and is right; whatever else ends it is raised.
    fn next_item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let item = self.stream.ask(py, async move |mut stream| {
            let Some(inner) = stream.as_mut() else {
                return Ok(None);
            };
            let item = match inner.next().await {
                Ok(Some(Item::End(_))) => {
                    // What follows an end makes all of it invalid.
                    inner.next().await.map(|_| None)
                }
                other => other,
            };
            // Nothing may be taken from it after its end, or after an error.
            if !matches!(item, Ok(Some(_))) {
                *stream = None;
            }
            item
        })?;
        match item {
            Some(Item::Data { offset, bytes }) => {
                ("data", offset, PyBytes::new(py, &bytes)).into_pyobject(py)
            }
            Some(Item::Zero { offset, length }) => ("zero", offset, length).into_pyobject(py),
            Some(Item::Reached(offset)) => ("reached", offset, py.None()).into_pyobject(py),
            Some(Item::Header(_) | Item::End(_)) => self.next_item(py),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    /// Lets go of the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stream.ask(py, async move |mut stream| {
            *stream = None;
            Ok(())
        })
    }
}
