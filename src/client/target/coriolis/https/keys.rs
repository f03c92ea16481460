use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::client::trust::provider;

/// Whom to believe, and who we are: all in PEM.
#[derive(Clone)]
pub struct WorkerKeys {
    /// The authority that has signed the worker's certificate. No other is believed.
    pub authority: Vec<u8>,
    /// Our certificate, and those in between, if there are any.
    pub certificate: Vec<u8>,
    /// Its key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Vec<u8>,
}

/// None of them.
impl fmt::Debug for WorkerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerKeys").finish_non_exhaustive()
    }
}

impl WorkerKeys {
    /// Reads all three from files.
    ///
    /// # Errors
    /// With the name of the file that cannot be read.
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> io::Result<WorkerKeys> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot read {}: {error}", path.display()),
                )
            })
        };
        Ok(WorkerKeys {
            authority: read(authority)?,
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    /// What connections to the worker are made with.
    pub(super) fn tls(&self) -> io::Result<ClientConfig> {
        let bad = |what: &str, error: &dyn Error| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{what} cannot be used: {error}"),
            )
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority, "the worker's authority")? {
            roots
                .add(certificate)
                .map_err(|error| bad("the worker's authority", &error))?;
        }
        let chain = certificates(&self.certificate, "our certificate for the worker")?;
        // What it says of a key that is damaged names no byte of it.
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| bad("our key for the worker", &error))?;
        let mut tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| bad("TLS", &error))?
            .with_root_certificates(Arc::new(roots))
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad("our certificate and key for the worker", &error))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

fn certificates(pem: &[u8], what: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let invalid = |why: String| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{what} cannot be used: {why}"),
        )
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| invalid(error.to_string()))?;
    if found.is_empty() {
        return Err(invalid("there is no certificate in it (PEM)".to_owned()));
    }
    Ok(found)
}
