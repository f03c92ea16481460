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
    let error = match (shaken, verifier.presented()) {
        (Ok(stream), Some(der)) => {
            return Ok(Session {
                stream,
                fingerprint: Fingerprint::of(der),
                certificate: der.to_vec(),
            });
        }
        // Cannot be: a complete handshake has asked the verifier. Never send anything then.
        (Ok(_), None) => return Err(broken("the manager showed no certificate".to_owned())),
        (Err(error), _) => error,
    };
    if let Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) = cause(&error) {
        return Err(ManagerError::NotTls {
            endpoint: endpoint.clone(),
        });
    }
    let refusal = refusal(&verifier, endpoint, trusted);
    if let Some(Refusal::Final(refused)) = refusal {
        return Err(refused);
    }
    let reason = error.to_string();
    let learned = match deadline
        .step("", legacy::what_it_speaks(address, endpoint))
        .await
    {
        Ok(learned) => learned,
        Err(_) => Err("no answer in time".to_owned()),
    };
    Err(match (learned, refusal) {
        (Ok(peer), _) if !peer.shortcomings().is_empty() => ManagerError::OldTls {
            endpoint: endpoint.clone(),
            peer: Box::new(peer),
            reason,
        },
        (_, Some(Refusal::Final(refused) | Refusal::MayBeOld(refused))) => refused,
        // Nothing old about it, so the opt-in key is not what helps.
        (Ok(peer), None) => broken(format!("{reason}; it speaks {peer}")),
        (Err(also), None) => broken(format!("{reason}; asking with older TLS: {also}")),
    })
}

/// The error when it was the judgement of the certificate that ended the handshake.
enum Refusal {
    /// Another certificate, issuer, name or date than wanted: its age explains nothing.
    Final(ManagerError),
    /// The judge could not read or calculate it. An old certificate may be why.
    MayBeOld(ManagerError),
}

fn refusal(verifier: &Verifier, endpoint: &Endpoint, trusted: &Trusted) -> Option<Refusal> {
    let (der, refused) = (verifier.presented()?, verifier.refused()?);
    if let Bytes::Changed(change) = trusted.judge_bytes(der) {
        return Some(Refusal::Final(trusted.changed(endpoint, change)));
    }
    let error = trusted.untrusted(endpoint, Fingerprint::of(der), refused.to_string());
    Some(match refused {
        rustls::Error::InvalidCertificate(
            CertificateError::BadEncoding
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            | CertificateError::Other(_),
        ) => Refusal::MayBeOld(error),
        _ => Refusal::Final(error),
    })
}

/// What rustls said, when it was rustls.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
