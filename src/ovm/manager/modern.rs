//! The handshake as it should be: TLS 1.2 or 1.3 with AEAD ciphers, by rustls.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Session;
use super::connect::Connected;
use super::deadline::Deadline;
use super::endpoint::Endpoint;
use super::error::ManagerError;
use super::fingerprint::Fingerprint;
use super::legacy;
use super::trust::{Bytes, Trusted};
use super::verifier::Verifier;

/// Shakes hands and judges the certificate. When that fails for what the manager's TLS is, a
/// second connection learns what it speaks, for the error.
pub(super) async fn handshake(
    connected: Connected,
    endpoint: &Endpoint,
    trusted: &Arc<Trusted>,
    deadline: &Deadline,
) -> Result<Session<TlsStream<TcpStream>>, ManagerError> {
    let Connected { tcp, address } = connected;
    let broken = |reason: String| ManagerError::Handshake {
        endpoint: endpoint.clone(),
        reason,
    };
    let name = endpoint
        .server_name()
        .ok_or_else(|| broken("its host is not a DNS name".to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier::new(trusted.clone(), &provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    // A resumed session would not show its certificate again.
    config.resumption = Resumption::disabled();

    let shaken = deadline
        .step(
            "the TLS handshake",
            TlsConnector::from(Arc::new(config)).connect(name, tcp),
        )
        .await?;
    match (shaken, verifier.presented()) {
        (Ok(stream), Some(der)) => Ok(Session {
            stream,
            fingerprint: Fingerprint::of(der),
        }),
        // Cannot be: a complete handshake has asked the verifier. Never send anything then.
        (Ok(_), None) => Err(broken("the manager showed no certificate".to_owned())),
        (Err(error), presented) => {
            if let Some(judged) = presented.and_then(|der| refusal(der, &error, endpoint, trusted))
            {
                return Err(judged);
            }
            if matches!(
                cause(&error),
                Some(rustls::Error::InvalidMessage(
                    InvalidMessage::InvalidContentType
                ))
            ) {
                return Err(ManagerError::NotTls {
                    endpoint: endpoint.clone(),
                });
            }
            let reason = error.to_string();
            let learned = deadline
                .step("", legacy::what_it_speaks(address, endpoint))
                .await;
            Err(match learned {
                Ok(Ok(peer)) => ManagerError::OldTls {
                    endpoint: endpoint.clone(),
                    peer: Box::new(peer),
                    reason,
                },
                Ok(Err(also)) => broken(format!("{reason}; asking with older TLS: {also}")),
                Err(_) => broken(format!(
                    "{reason}; asking with older TLS: no answer in time"
                )),
            })
        }
    }
}

/// The error when it was our judgement of the certificate that ended the handshake. `None` when
/// its encoding, version, algorithm or key was the trouble, or something else altogether.
fn refusal(
    der: &[u8],
    error: &io::Error,
    endpoint: &Endpoint,
    trusted: &Trusted,
) -> Option<ManagerError> {
    if let Bytes::Changed(change) = trusted.judge_bytes(der) {
        return Some(trusted.changed(endpoint, change));
    }
    let Some(rustls::Error::InvalidCertificate(certificate)) = cause(error) else {
        return None;
    };
    match certificate {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. }
        | CertificateError::UnknownIssuer
        | CertificateError::NotValidForName
        | CertificateError::NotValidForNameContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. } => {
            Some(trusted.untrusted(endpoint, Fingerprint::of(der), certificate.to_string()))
        }
        _ => None,
    }
}

/// What rustls said, when it was rustls.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
