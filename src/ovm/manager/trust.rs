//! What makes a manager's certificate acceptable.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::endpoint::Endpoint;
use super::error::{ManagerError, PinChange};
use super::fingerprint::Fingerprint;
use super::pin;

/// How a manager's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is signed by one of the certificates of this PEM file (`ovm_ca_certificate`) and bears
    /// the manager's name, or it **is** one of them, byte for byte. In the second case neither
    /// its name nor its dates matter: the admin named this very certificate.
    Ca(PathBuf),
    /// Its SHA-256 is kept at the first login and must stay the same.
    Pinned {
        /// Where it is kept; beside the daemon's database.
        pin_file: PathBuf,
    },
}

/// Far more than a file of CA certificates ever has.
const LARGEST: u64 = 1024 * 1024;

/// [`Trust`] with its file read.
#[derive(Debug)]
pub(super) enum Trusted {
    Ca {
        file: PathBuf,
        certificates: Vec<CertificateDer<'static>>,
    },
    Pinned {
        file: PathBuf,
        pin: Option<Fingerprint>,
    },
}

/// What the bytes of a certificate alone say about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// Accepted: nothing else need be looked at.
    Accepted,
    /// The pin is another one.
    Changed(PinChange),
    /// It is up to the chain of signatures and the name.
    AskTheChain,
}

impl Trusted {
    /// Reads the file that `trust` names, off the asynchronous threads.
    pub(super) async fn load(trust: &Trust, endpoint: &Endpoint) -> Result<Self, ManagerError> {
        let (trust, endpoint) = (trust.clone(), endpoint.clone());
        let span = tracing::Span::current();
        let load = move || span.in_scope(|| Self::load_blocking(trust, &endpoint));
        match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn load_blocking(trust: Trust, endpoint: &Endpoint) -> Result<Self, ManagerError> {
        match trust {
            Trust::Ca(file) => match certificates(&file) {
                Ok(certificates) => Ok(Self::Ca { file, certificates }),
                Err(reason) => Err(ManagerError::CaFile {
                    ca_file: file,
                    reason,
                }),
            },
            Trust::Pinned { pin_file: file } => {
                let pin = pin::load(&file, endpoint)?;
                Ok(Self::Pinned { file, pin })
            }
        }
    }

    /// Judges a certificate by its bytes.
    pub(super) fn judge_bytes(&self, der: &[u8]) -> Bytes {
        match self {
            Self::Ca { certificates, .. } if certificates.iter().any(|c| c.as_ref() == der) => {
                Bytes::Accepted
            }
            Self::Ca { .. } => Bytes::AskTheChain,
            Self::Pinned { pin: None, .. } => Bytes::Accepted,
            Self::Pinned {
                pin: Some(pinned), ..
            } => match Fingerprint::of(der) {
                presented if presented == *pinned => Bytes::Accepted,
                presented => Bytes::Changed(PinChange {
                    pinned: *pinned,
                    presented,
                }),
            },
        }
    }

    /// The certificates that a chain may end in. None when pinning.
    pub(super) fn anchors(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Ca { certificates, .. } => certificates,
            Self::Pinned { .. } => &[],
        }
    }

    /// The file to pin in, when this endpoint has no pin yet.
    pub(super) fn unpinned(&self) -> Option<&Path> {
        match self {
            Self::Pinned { file, pin: None } => Some(file),
            _ => None,
        }
    }

    /// The error for a certificate with another fingerprint than the pinned one.
    pub(super) fn changed(&self, endpoint: &Endpoint, change: PinChange) -> ManagerError {
        let pin_file = self.file().to_owned();
        ManagerError::PinChanged {
            endpoint: endpoint.clone(),
            change: Box::new(change),
            pin_file,
        }
    }

    /// The error for a certificate that the CA file does not vouch for.
    pub(super) fn untrusted(
        &self,
        endpoint: &Endpoint,
        presented: Fingerprint,
        reason: String,
    ) -> ManagerError {
        let ca_file = self.file().to_owned();
        ManagerError::Untrusted {
            endpoint: endpoint.clone(),
            ca_file,
            presented,
            reason,
        }
    }

    fn file(&self) -> &Path {
        match self {
            Self::Ca { file, .. } | Self::Pinned { file, .. } => file,
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error: io::Error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is not valid PEM: {error}"))?;
    match certificates.is_empty() {
        true => Err("it holds no `-----BEGIN CERTIFICATE-----` (PEM is expected)".to_owned()),
        false => Ok(certificates),
    }
}
