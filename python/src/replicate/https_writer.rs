//! A volume of a worker of Coriolis's: Python says which, and takes no part in writing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use coriolis_ovm_exporter::client::target::Target;
use coriolis_ovm_exporter::client::target::coriolis::{
    HttpsWorker, HttpsWriter as Writer, Packing, WorkerKeys, WriterOptions,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Deserialize;

use crate::connection::of_json;

/// What may be chosen, as the Python half writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    name: Option<String>,
    identity: Option<String>,
    in_flight: usize,
    chunk: usize,
    packing: String,
    /// Seconds.
    patience: f64,
}

/// Everything that is needed to write to it. Connections are made when a run opens it: they belong
/// to the process that makes them.
#[pyclass(frozen)]
pub(crate) struct HttpsWriter {
    endpoint: String,
    device: String,
    keys: WorkerKeys,
    options: WriterOptions,
}

#[pymethods]
impl HttpsWriter {
    #[new]
    fn new(
        endpoint: String,
        device: String,
        authority: Vec<u8>,
        certificate: Vec<u8>,
        key: Vec<u8>,
        options: &str,
    ) -> PyResult<HttpsWriter> {
        let chosen: Options = of_json(options)?;
        let packing = Packing::of_name(&chosen.packing).ok_or_else(|| {
            PyValueError::new_err(format!(
                "packing is one of auto, always, never, not {:?}",
                chosen.packing
            ))
        })?;
        let patience = Duration::try_from_secs_f64(chosen.patience)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let writer = HttpsWriter {
            endpoint,
            device,
            keys: WorkerKeys {
                authority,
                certificate,
                key,
            },
            options: WriterOptions {
                name: chosen.name,
                identity: chosen.identity,
                in_flight: chosen.in_flight,
                chunk: chosen.chunk,
                packing,
                patience,
                declared_zeroed: false,
            },
        };
        // What cannot be used is told now.
        writer
            .worker()
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(writer)
    }
}

impl HttpsWriter {
    fn worker(&self) -> io::Result<HttpsWorker> {
        HttpsWorker::at(&self.endpoint, &self.keys)
    }

    pub(super) fn open(&self, declared_zeroed: bool) -> io::Result<Arc<dyn Target>> {
        let options = WriterOptions {
            declared_zeroed,
            ..self.options.clone()
        };
        Ok(Arc::new(Writer::to(&self.worker()?, &self.device, options)))
    }
}
