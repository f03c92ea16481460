//! What the run's threads ask the thread for that called Python's `replicate`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender, SyncSender};

use coriolis_ovm_exporter::client::replicate::{Outcome, ReplicateError};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::https_writer::HttpsWriter;

/// What comes to that thread.
pub(super) enum Message {
    /// An object of Python's has something to do.
    Call(Call),
    /// The run has come to this, in JSON.
    Event(String),
    /// It has ended.
    Done(Box<Result<Outcome, ReplicateError>>),
}

/// What an object has to do.
pub(super) enum Deed {
    /// Find the target of a disk (JSON).
    Open(String),
    Size,
    /// What is relied on, and of a base what it looked like.
    Rely(&'static str, Option<Looks>),
    Looks,
    Prepare(u64),
    Write(u64, Vec<u8>),
    Zero(u64, u64),
    Flush,
    Read(u64, usize),
    Load,
    Save(String),
}

/// Which file it was, and how large, as the Python half writes it.
pub(super) type Looks = (String, String);

/// What came of it.
pub(super) enum Answer {
    Done,
    Size(u64),
    Looks(Option<Looks>),
    /// Nothing: it does not hold what is relied on, as this says.
    DoesNotHold(String),
    Bytes(Vec<u8>),
    Text(Option<String>),
    Target(Option<Opened>),
}

/// What the Python half has for a disk.
pub(super) enum Opened {
    /// A file or a device, and whether that is said to be all zeros.
    Path(PathBuf, bool),
    /// A volume of a worker's, and the same.
    Https(Py<HttpsWriter>, bool),
    /// Something that Python writes to.
    Writer(Written),
}

/// What Python's half has made of a file object or a writer (`writers.py`).
pub(super) struct Written {
    pub(super) object: Py<PyAny>,
    pub(super) name: String,
    pub(super) is_readable: bool,
    pub(super) is_zero: bool,
}

impl Opened {
    fn of(found: &Bound<'_, PyAny>) -> PyResult<Option<Opened>> {
        if found.is_none() {
            return Ok(None);
        }
        if let Ok((writer, is_zero)) = found.extract::<(Py<HttpsWriter>, bool)>() {
            return Ok(Some(Opened::Https(writer, is_zero)));
        }
        Ok(Some(match found.extract::<(PathBuf, bool)>() {
            Ok((path, is_zero)) => Opened::Path(path, is_zero),
            Err(_) => Opened::Writer(Written {
                name: found.getattr("name")?.extract()?,
                is_readable: found.getattr("readable")?.extract()?,
                is_zero: found.getattr("zeroed")?.extract()?,
                object: found.clone().unbind(),
            }),
        }))
    }
}

pub(super) struct Call {
    object: Arc<Py<PyAny>>,
    deed: Deed,
    reply: SyncSender<io::Result<Answer>>,
}

/// An object of Python's, for threads that do not speak Python.
#[derive(Clone)]
pub(super) struct Caller {
    object: Arc<Py<PyAny>>,
    sender: Sender<Message>,
}

impl Caller {
    pub(super) fn new(object: Py<PyAny>, sender: &Sender<Message>) -> Caller {
        Caller {
            object: Arc::new(object),
            sender: sender.clone(),
        }
    }

    /// The same line to another object.
    pub(super) fn to(&self, object: Py<PyAny>) -> Caller {
        Caller::new(object, &self.sender)
    }

    /// Waits until it has done it.
    pub(super) fn ask(&self, deed: Deed) -> io::Result<Answer> {
        let gone = || io::Error::other("nobody listens any more");
        let (reply, answer) = mpsc::sync_channel(1);
        let call = Call {
            object: Arc::clone(&self.object),
            deed,
            reply,
        };
        self.sender.send(Message::Call(call)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Call {
    /// Calls Python, and answers whoever waits. Returns what Python raised. Where the run is ending
    /// (`is_ending`), only the state is still kept.
    pub(super) fn serve(self, py: Python<'_>, is_ending: bool) -> Option<PyErr> {
        let is_state = matches!(self.deed, Deed::Load | Deed::Save(_));
        if is_ending && !is_state {
            let ending = io::Error::other("the run is being ended");
            let _ = self.reply.send(Err(ending));
            return None;
        }
        match call(self.object.bind(py), self.deed) {
            Ok(answer) => {
                let _ = self.reply.send(Ok(answer));
                None
            }
            Err(raised) => {
                let _ = self.reply.send(Err(io::Error::other(raised.to_string())));
                Some(raised)
            }
        }
    }
}

fn call(object: &Bound<'_, PyAny>, deed: Deed) -> PyResult<Answer> {
    let py = object.py();
    match deed {
        Deed::Open(disk) => Opened::of(&object.call1((disk,))?).map(Answer::Target),
        Deed::Size => object.call_method0("size")?.extract().map(Answer::Size),
        Deed::Rely(what, looks) => object.call_method1("rely_on", (what, looks)).map(done),
        Deed::Looks => object.call_method0("looks")?.extract().map(Answer::Looks),
        Deed::Prepare(size) => object.call_method1("prepare", (size,)).map(done),
        Deed::Write(offset, bytes) => object
            .call_method1("write_at", (offset, PyBytes::new(py, &bytes)))
            .and_then(written),
        Deed::Zero(offset, length) => object
            .call_method1("zero", (offset, length))
            .and_then(written),
        Deed::Flush => object.call_method0("flush").and_then(written),
        Deed::Read(offset, length) => {
            let read: Vec<u8> = object
                .call_method1("read_at", (offset, length))?
                .cast_into::<PyBytes>()
                .map_err(|error| PyTypeError::new_err(error.to_string()))?
                .as_bytes()
                .to_vec();
            Ok(Answer::Bytes(read))
        }
        Deed::Load => object.call_method0("load")?.extract().map(Answer::Text),
        Deed::Save(state) => object.call_method1("save", (state,)).map(done),
    }
}

/// None, or why nothing was.
fn written(answer: Bound<'_, PyAny>) -> PyResult<Answer> {
    Ok(match answer.extract::<Option<String>>()? {
        None => Answer::Done,
        Some(reason) => Answer::DoesNotHold(reason),
    })
}

fn done(_: Bound<'_, PyAny>) -> Answer {
    Answer::Done
}
