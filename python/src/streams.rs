//! A download and a delta, piece by piece.

use std::future::Future;
use std::sync::Arc;

use coriolis_ovm_exporter::client::{ClientError, DeltaStream};
use coriolis_ovm_exporter::protocol::delta::Item;
use pyo3::exceptions::{PyStopIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use tokio::sync::Mutex;

use crate::connection::json;
use crate::errors;
use crate::waiting::Threads;

/// Where the next piece comes from.
enum Source<T> {
    Open(T),
    /// All of it has come.
    Ended,
    /// It was let go of, or failed, before its end: what has come is not all of it.
    Closed,
}

/// What was taken from one.
enum Taken<T> {
    Piece(T),
    End,
    Closed,
}

/// A stream that one call at a time takes something from.
struct Stream<T> {
    inner: Arc<Mutex<Source<T>>>,
    threads: Threads,
}

impl<T: Send + 'static> Stream<T> {
    fn new(inner: T, threads: Threads) -> Stream<T> {
        Stream {
            inner: Arc::new(Mutex::new(Source::Open(inner))),
            threads,
        }
    }

    /// The next piece; None after the end. Whoever waits for it takes the source away meanwhile, so
    /// nothing is left of one that has failed, or that was given up in the middle of a piece.
    fn take<A, F>(
        &self,
        py: Python<'_>,
        take: impl FnOnce(T) -> F + Send + 'static,
    ) -> PyResult<Option<A>>
    where
        A: Send + 'static,
        F: Future<Output = Result<Option<(A, T)>, ClientError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let taken = self.threads.wait(py, async move {
            let mut source = inner.lock().await;
            let open = match std::mem::replace(&mut *source, Source::Closed) {
                Source::Open(open) => open,
                Source::Ended => {
                    *source = Source::Ended;
                    return Ok(Taken::End);
                }
                Source::Closed => return Ok(Taken::Closed),
            };
            Ok(match take(open).await? {
                Some((piece, open)) => {
                    *source = Source::Open(open);
                    Taken::Piece(piece)
                }
                None => {
                    *source = Source::Ended;
                    Taken::End
                }
            })
        })?;
        match taken.map_err(|error| errors::of_client(py, &error))? {
            Taken::Piece(piece) => Ok(Some(piece)),
            Taken::End => Ok(None),
            Taken::Closed => Err(PyValueError::new_err(
                "the stream was closed, or has failed, before its end: what has come is not all of it",
            )),
        }
    }

    /// Lets go of the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let inner = Arc::clone(&self.inner);
        self.threads.wait(py, async move {
            let mut source = inner.lock().await;
            if matches!(*source, Source::Open(_)) {
                *source = Source::Closed;
            }
        })
    }
}

/// The bytes of a snapshot's disk as they come.
#[pyclass(frozen, module = "coriolis_ovm_exporter._native")]
pub(crate) struct Download {
    /// Bytes that come.
    length: u64,
    stream: Stream<reqwest::Response>,
}

impl Download {
    pub(crate) fn new(response: reqwest::Response, threads: Threads) -> Download {
        Download {
            length: response.content_length().unwrap_or_default(),
            stream: Stream::new(response, threads),
        }
    }
}

#[pymethods]
impl Download {
    /// How many bytes it has.
    #[getter]
    fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes, as many as have come; none after the end.
    fn next_piece<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let piece = self.stream.take(py, async move |mut response| {
            Ok(response.chunk().await?.map(|piece| (piece, response)))
        })?;
        Ok(PyBytes::new(py, piece.as_deref().unwrap_or_default()))
    }

    /// Lets go of the connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stream.close(py)
    }
}

/// A delta as it comes: its header, and an iterator over its frames.
#[pyclass(frozen, module = "coriolis_ovm_exporter._native")]
pub(crate) struct Delta {
    header: String,
    stream: Stream<DeltaStream>,
}

impl Delta {
    pub(crate) fn new(stream: DeltaStream, threads: Threads) -> PyResult<Delta> {
        Ok(Delta {
            header: json(stream.header())?,
            stream: Stream::new(stream, threads),
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
        let item = self.stream.take(py, async move |mut stream| {
            Ok(match stream.next().await? {
                Some(Item::End(_)) => {
                    // What follows an end makes all of it invalid.
                    stream.next().await?;
                    None
                }
                other => other.map(|item| (item, stream)),
            })
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
        self.stream.close(py)
    }
}
