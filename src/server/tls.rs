//! Our side of TLS: which protocol, which ciphers, which certificate.
//!
//! TLS 1.2 and 1.3 with AEAD suites only. A certificate can be replaced while the daemon runs:
//! [`ServerTls::reload`] reads the files again and keeps the old pair when the new one is bad.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::outdated_certificate;
use crate::sys::regular_file;

/// The AEAD suites we speak, fastest first on hardware with AES instructions.
///
/// The server's order decides: many clients list AES-256 first, and encryption would cost a
/// quarter more CPU (measured: .119 against .096 s/GiB).
static CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// No certificate or key file is larger than this, in bytes. A wrong path (a log, a disk image)
/// must not be read into memory.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// The files that make up the server's TLS identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then the intermediate ones.
    pub certificate: PathBuf,
    /// PEM: the private key of the first certificate (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
    /// PEM: authorities of which a client must show a certificate. `None`: no client
    /// certificate is asked for.
    pub client_authority: Option<PathBuf>,
}

/// Why a TLS identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is missing or cannot be read.
    #[error("cannot read {role} {}: {source}", path.display())]
    Unreadable {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is too large to be a PEM file.
    #[error("{role} {} has more than {MAX_PEM_BYTES} bytes: this is no PEM file", path.display())]
    TooLarge {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file has no PEM section of the kind we need.
    #[error("{role} {} has no PEM section of that kind in it{hint}", path.display())]
    Nothing {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found instead, or empty.
        hint: &'static str,
    },
    /// The file is damaged.
    #[error("{role} {} is damaged: {reason}", path.display())]
    Damaged {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is of an older version than TLS takes.
    #[error("{CERTIFICATE} {} cannot be used: {reason}", path.display())]
    Outdated {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error(
        "the key {} is not the key of the first certificate in {}: \
         give both files of one pair, the server's certificate first",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// rustls refuses what we ask of it.
    #[error("TLS cannot be set up with these settings: {0}")]
    Settings(String),
}

/// What a PEM file is for, as it stands in messages.
const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const AUTHORITY: &str = "client certificate authority";

/// A certificate with its key, as it was read: good for TLS, whatever its dates are.
#[derive(Debug)]
pub struct Identity {
    files: TlsFiles,
    certificate: CertificateDer<'static>,
    /// The whole configuration, not only the certificate: a session resumed under an authority
    /// that was taken out must not be possible.
    config: Arc<ServerConfig>,
}

impl Identity {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let (certificate, config) = build(&files)?;
        Ok(Self {
            files,
            certificate,
            config,
        })
    }

    /// The files it was read from.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// The server's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

/// The server's TLS configuration, replaceable while connections are served.
#[derive(Debug)]
pub struct ServerTls(RwLock<Arc<Identity>>);

impl ServerTls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(Arc::new(Identity::read(files)?))))
    }

    /// Reads the files again. New connections get the new identity; those that are open keep
    /// theirs.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; the identity in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.take_up(Identity::read(self.identity().files.clone())?);
        Ok(())
    }

    /// New connections get this identity.
    pub fn take_up(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
    }

    /// The identity in use.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The configuration for a new connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.identity().config)
    }
}

/// Our cryptography: handed to rustls by value, so that no process-wide default is needed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}

fn build(files: &TlsFiles) -> Result<(CertificateDer<'static>, Arc<ServerConfig>), TlsError> {
    let provider = provider();
    let identity = load_identity(files, &provider)?;
    let certificate = identity
        .end_entity_cert()
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .clone()
        .into_owned();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| TlsError::Settings(e.to_string()))?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(load_verifier(path, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    // HTTP/2 costs a quarter more CPU for bulk bytes.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    Ok((certificate, Arc::new(config)))
}

fn load_identity(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    if let Some(reason) = chain.first().and_then(outdated_certificate) {
        let path = files.certificate.clone();
        return Err(TlsError::Outdated { path, reason });
    }
    let pem = read_pem(KEY, &files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| match e {
        PemError::NoItemsFound => TlsError::Nothing {
            role: KEY,
            path: files.key.clone(),
            hint: if contains(&pem, b"ENCRYPTED PRIVATE KEY") {
                ": it is encrypted; store it without a passphrase (openssl pkey -in … -out …)"
            } else {
                ""
            },
        },
        other => damaged(KEY, &files.key, &other),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        },
        rustls::Error::InvalidCertificate(reason) => TlsError::Damaged {
            role: CERTIFICATE,
            path: files.certificate.clone(),
            reason: reason.to_string(),
        },
        // What is left speaks of the key: unknown kind, damaged inside.
        other => TlsError::Damaged {
            role: KEY,
            path: files.key.clone(),
            reason: other.to_string(),
        },
    })
}

fn load_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(AUTHORITY, path)? {
        roots
            .add(certificate)
            .map_err(|e| damaged(AUTHORITY, path, &e))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| damaged(AUTHORITY, path, &e))
}

/// All certificates of a PEM file, at least one.
fn certificates(role: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read_pem(role, path)?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| damaged(role, path, &e))?;
    if found.is_empty() {
        let hint = if contains(&pem, b"PRIVATE KEY") {
            ": it holds a private key; are certificate and key swapped?"
        } else {
            ""
        };
        return Err(TlsError::Nothing {
            role,
            path: path.to_owned(),
            hint,
        });
    }
    Ok(found)
}

fn read_pem(role: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let unreadable = |source| TlsError::Unreadable {
        role,
        path: path.to_owned(),
        source,
    };
    let file = regular_file::open(path).map_err(unreadable)?;
    let mut pem = Vec::new();
    file.take(MAX_PEM_BYTES + 1)
        .read_to_end(&mut pem)
        .map_err(unreadable)?;
    if u64::try_from(pem.len()).unwrap_or(u64::MAX) > MAX_PEM_BYTES {
        return Err(TlsError::TooLarge {
            role,
            path: path.to_owned(),
        });
    }
    Ok(pem)
}

fn damaged(role: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Damaged {
        role,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
