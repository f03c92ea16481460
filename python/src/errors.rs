//! What is raised. The classes are Python's (`errors.py`), since they derive from those of
//! `requests` where that is installed.

use coriolis_ovm_exporter::client::ClientError;
use coriolis_ovm_exporter::client::replicate::ReplicateError;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An instance of a class of `coriolis_ovm_exporter.errors`.
fn of_class(py: Python<'_>, class: &str, message: &str, more: &Bound<'_, PyDict>) -> PyErr {
    let made = py
        .import("coriolis_ovm_exporter.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call((message,), Some(more)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// What a call has failed with.
pub(crate) fn of_client(py: Python<'_>, error: &ClientError) -> PyErr {
    let more = PyDict::new(py);
    let message = error.to_string();
    let (class, filled) = match error {
        ClientError::Refused { status, body } => {
            let filled = more
                .set_item("status_code", status.as_u16())
                .and_then(|()| more.set_item("error", &body.error))
                .and_then(|()| more.set_item("details", &body.details))
                .and_then(|()| {
                    let id = body.request_id.as_ref().map(ToString::to_string);
                    more.set_item("request_id", id)
                });
            ("HTTPError", filled)
        }
        ClientError::Transport(error) if error.is_builder() => {
            ("ProtocolError", Ok::<(), PyErr>(()))
        }
        error if error.is_untrusted() => ("CertificateError", Ok(())),
        ClientError::Transport(_) | ClientError::Unanswered(_) | ClientError::Silent(_) => {
            ("TransportError", Ok(()))
        }
        ClientError::Io(error) => return PyOSError::new_err(error.to_string()),
        ClientError::TooLarge { .. }
        | ClientError::Malformed(_)
        | ClientError::Delta(_)
        | ClientError::Short { .. } => ("ProtocolError", Ok(())),
    };
    match filled {
        Ok(()) => of_class(py, class, &message, &more),
        Err(error) => error,
    }
}

/// What a run has failed with, its cause attached where that was a node's answer.
pub(crate) fn of_run(py: Python<'_>, error: &ReplicateError) -> PyErr {
    let more = PyDict::new(py);
    let disk = match error {
        ReplicateError::Copy { disk, .. }
        | ReplicateError::Invalid { disk, .. }
        | ReplicateError::NoTarget { disk }
        | ReplicateError::Occupied { disk, .. }
        | ReplicateError::Unproven { disk, .. }
        | ReplicateError::Forbidden { disk, .. }
        | ReplicateError::Target { disk, .. }
        | ReplicateError::Mismatch { disk, .. } => Some(disk),
        _ => None,
    };
    let filled = more
        .set_item("disk", disk)
        .and_then(|()| more.set_item("transient", error.is_transient()));
    if let Err(error) = filled {
        return error;
    }
    let raised = of_class(py, "ReplicationError", &error.to_string(), &more);
    if let Some(cause) = error.client_error() {
        raised.set_cause(py, Some(of_client(py, cause)));
    }
    raised
}
