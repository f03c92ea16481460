//! Calls to a node.

use coriolis_ovm_exporter::client::{Client, ClientError, Comparison, DiskOf, Trust};
use coriolis_ovm_exporter::protocol::Refine;
use coriolis_ovm_exporter::protocol::delta::Compression;
use coriolis_ovm_exporter::protocol::digest::Algorithm;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::errors;
use crate::streams::{Delta, Download};
use crate::waiting::Threads;

/// A client that has logged in, and its threads. What a call answers is JSON, as the daemon has it.
#[derive(Debug, Clone)]
#[pyclass(frozen, module = "coriolis_ovm_exporter._native")]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) threads: Threads,
}

/// Where in a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) vm: String,
    pub(crate) snapshot: Uuid,
    pub(crate) disk: String,
}

impl Place {
    pub(crate) fn new(vm: &str, snapshot: &str, disk: &str) -> PyResult<Place> {
        Ok(Place {
            vm: vm.to_owned(),
            snapshot: id(snapshot)?,
            disk: disk.to_owned(),
        })
    }

    pub(crate) fn disk(&self) -> DiskOf<'_> {
        DiskOf {
            vm: &self.vm,
            snapshot: self.snapshot,
            disk: &self.disk,
        }
    }
}

impl Connection {
    /// Waits for a call's answer.
    fn ask<T, F>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(Client) -> F + Send + 'static,
    ) -> PyResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ClientError>> + Send + 'static,
    {
        let client = self.client.clone();
        self.threads
            .wait(py, async move { call(client).await })?
            .map_err(|error| errors::of_client(py, &error))
    }

    fn ask_json<T, F>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(Client) -> F + Send + 'static,
    ) -> PyResult<String>
    where
        T: Serialize + Send + 'static,
        F: Future<Output = Result<T, ClientError>> + Send + 'static,
    {
        json(&self.ask(py, call)?)
    }
}

#[pymethods]
impl Connection {
    /// Logs in. `authority`: certificates in PEM, and no others are believed; `anyone`: all are.
    #[staticmethod]
    fn login(
        py: Python<'_>,
        endpoint: &str,
        username: &str,
        password: &str,
        authority: Option<Vec<u8>>,
        anyone: bool,
    ) -> PyResult<Connection> {
        let threads = Threads::start()?;
        let (endpoint, username, password) = (
            endpoint.to_owned(),
            username.to_owned(),
            password.to_owned(),
        );
        let login = threads.wait(py, async move {
            let trust = trust(authority, anyone);
            Client::login(&endpoint, &username, &password, &trust).await
        })?;
        Ok(Connection {
            client: login.map_err(|error| errors::of_client(py, &error))?,
            threads,
        })
    }

    /// With a token from elsewhere.
    #[staticmethod]
    fn with_token(
        py: Python<'_>,
        endpoint: &str,
        token: &str,
        authority: Option<Vec<u8>>,
        anyone: bool,
    ) -> PyResult<Connection> {
        let client = Client::with_token(endpoint, token, &trust(authority, anyone));
        Ok(Connection {
            client: client.map_err(|error| errors::of_client(py, &error))?,
            threads: Threads::start()?,
        })
    }

    #[getter]
    fn token(&self) -> String {
        self.client.token()
    }

    #[getter]
    fn endpoint(&self) -> String {
        self.client.endpoint().to_owned()
    }

    fn node(&self, py: Python<'_>) -> PyResult<String> {
        self.ask_json(py, async move |client| client.node().await)
    }

    fn vms(&self, py: Python<'_>) -> PyResult<String> {
        self.ask_json(py, async move |client| client.vms().await)
    }

    fn vm(&self, py: Python<'_>, vm: String) -> PyResult<String> {
        self.ask_json(py, async move |client| client.vm(&vm).await)
    }

    fn all_snapshots(&self, py: Python<'_>, space: bool) -> PyResult<String> {
        self.ask_json(py, async move |client| client.all_snapshots(space).await)
    }

    fn snapshots(&self, py: Python<'_>, vm: String) -> PyResult<String> {
        self.ask_json(py, async move |client| client.snapshots(&vm).await)
    }

    fn snapshot(
        &self,
        py: Python<'_>,
        vm: String,
        snapshot: &str,
        base: Option<&str>,
        squash: bool,
    ) -> PyResult<String> {
        let (snapshot, base) = (id(snapshot)?, base.map(id).transpose()?);
        self.ask_json(py, async move |client| {
            client.snapshot_with(&vm, snapshot, base, squash).await
        })
    }

    /// Without what is allocated in its disks.
    fn snapshot_without_ranges(
        &self,
        py: Python<'_>,
        vm: String,
        snapshot: &str,
    ) -> PyResult<String> {
        let snapshot = id(snapshot)?;
        self.ask_json(py, async move |client| {
            client.snapshot_without_ranges(&vm, snapshot).await
        })
    }

    /// `wish`: the request's body in JSON. `chunks`: whether what is allocated is in the answer.
    fn create_snapshot(
        &self,
        py: Python<'_>,
        vm: String,
        wish: &str,
        chunks: bool,
    ) -> PyResult<String> {
        let wish = of_json(wish)?;
        self.ask_json(py, async move |client| {
            if chunks {
                client.create_snapshot_with(&vm, &wish).await
            } else {
                client.create_snapshot_without_ranges(&vm, &wish).await
            }
        })
    }

    /// `change`: the request's body in JSON. `chunks` as when one is created.
    fn change_snapshot(
        &self,
        py: Python<'_>,
        vm: String,
        snapshot: &str,
        change: &str,
        chunks: bool,
    ) -> PyResult<String> {
        let (snapshot, change) = (id(snapshot)?, of_json(change)?);
        self.ask_json(py, async move |client| {
            if chunks {
                let changed = client.change_snapshot_with_ranges(&vm, snapshot, &change);
                changed.await
            } else {
                client.change_snapshot(&vm, snapshot, &change).await
            }
        })
    }

    fn delete_snapshot(&self, py: Python<'_>, vm: String, snapshot: &str) -> PyResult<()> {
        let snapshot = id(snapshot)?;
        self.ask(py, async move |client| {
            client.delete_snapshot(&vm, snapshot).await
        })
    }

    fn delete_all_snapshots(&self, py: Python<'_>, vm: String) -> PyResult<()> {
        self.ask(py, async move |client| {
            client.delete_all_snapshots(&vm).await
        })
    }

    /// Fewer bytes where the disk ends before.
    fn read<'py>(
        &self,
        py: Python<'py>,
        vm: &str,
        snapshot: &str,
        disk: &str,
        offset: u64,
        length: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let at = Place::new(vm, snapshot, disk)?;
        let bytes = self.ask(py, async move |client| {
            let response = client.read_up_to(&at.disk(), offset, length).await?;
            Ok(response.bytes().await?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The same, to be read piece by piece.
    fn download(
        &self,
        py: Python<'_>,
        vm: &str,
        snapshot: &str,
        disk: &str,
        offset: u64,
        length: u64,
    ) -> PyResult<Download> {
        let at = Place::new(vm, snapshot, disk)?;
        let response = self.ask(py, async move |client| {
            client.read_up_to(&at.disk(), offset, length).await
        })?;
        Ok(Download::new(response, self.threads.clone()))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "Python's half has names for them"
    )]
    fn ranges(
        &self,
        py: Python<'_>,
        vm: &str,
        snapshot: &str,
        disk: &str,
        base: Option<&str>,
        refine: &str,
        full_without_base: bool,
        from: u64,
        limit: Option<usize>,
    ) -> PyResult<String> {
        let at = Place::new(vm, snapshot, disk)?;
        let comparison = comparison(base, refine, full_without_base)?;
        self.ask_json(py, async move |client| {
            client.ranges(&at.disk(), &comparison, from, limit).await
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "Python's half has names for them"
    )]
    fn delta(
        &self,
        py: Python<'_>,
        vm: &str,
        snapshot: &str,
        disk: &str,
        base: Option<&str>,
        refine: &str,
        full_without_base: bool,
        from: u64,
        to: Option<u64>,
        compression: &str,
    ) -> PyResult<Delta> {
        let at = Place::new(vm, snapshot, disk)?;
        let comparison = comparison(base, refine, full_without_base)?;
        let compression = compression_of(compression)?;
        let stream = self.ask(py, async move |client| {
            client
                .delta_between(&at.disk(), &comparison, from, to, compression)
                .await
        })?;
        Delta::new(stream, self.threads.clone())
    }

    fn digests(
        &self,
        py: Python<'_>,
        vm: &str,
        snapshot: &str,
        disk: &str,
        algorithm: &str,
        block: Option<u64>,
    ) -> PyResult<String> {
        let at = Place::new(vm, snapshot, disk)?;
        let algorithm = Algorithm::of_name(algorithm)
            .ok_or_else(|| unknown("algorithm", algorithm, "sha256, blake3 or xxh3"))?;
        self.ask_json(py, async move |client| {
            client.digests(&at.disk(), algorithm, block).await
        })
    }
}

fn trust(authority: Option<Vec<u8>>, anyone: bool) -> Trust {
    match authority {
        _ if anyone => Trust::Anything,
        Some(pem) => Trust::Authority(pem),
        None => Trust::Platform,
    }
}

fn id(text: &str) -> PyResult<Uuid> {
    Uuid::try_parse(text).map_err(|_| {
        PyValueError::new_err(format!("{text:?} is no snapshot's id, which is a UUID"))
    })
}

fn comparison(base: Option<&str>, refine: &str, full_without_base: bool) -> PyResult<Comparison> {
    Ok(Comparison {
        base: base.map(id).transpose()?,
        refine: refine_of(refine)?,
        full_without_base,
    })
}

pub(crate) fn refine_of(name: &str) -> PyResult<Refine> {
    Refine::of_name(name).ok_or_else(|| unknown("refine", name, "none, auto or 4096"))
}

pub(crate) fn compression_of(name: &str) -> PyResult<Compression> {
    Compression::of_name(name).ok_or_else(|| unknown("compression", name, "none, zstd or lz4"))
}

pub(crate) fn unknown(what: &str, name: &str, known: &str) -> PyErr {
    PyValueError::new_err(format!("{what} is {name:?}; it can be {known}"))
}

pub(crate) fn json<T: Serialize>(value: &T) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}

pub(crate) fn of_json<T: DeserializeOwned>(text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))
}
