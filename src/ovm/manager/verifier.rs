//! The judge that rustls asks during a handshake.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::trust::{Bytes, Trusted};

/// Judges the certificate of one connection by [`Trusted`], and remembers it. The signature of
/// the handshake, which proves that the peer owns the key, is always checked by rustls' own code.
#[derive(Debug)]
pub(super) struct Verifier {
    trusted: Arc<Trusted>,
    /// Absent when pinning, and when webpki can read none of the CA certificates.
    chain: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    presented: OnceLock<CertificateDer<'static>>,
    refused: OnceLock<rustls::Error>,
}

impl Verifier {
    pub(super) fn new(trusted: Arc<Trusted>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        // What webpki cannot read, such as X.509 v1, still counts byte for byte.
        roots.add_parsable_certificates(trusted.anchors().iter().cloned());
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Self {
            trusted,
            chain: chain.ok(),
            algorithms: provider.signature_verification_algorithms,
            presented: OnceLock::new(),
            refused: OnceLock::new(),
        }
    }

    /// The certificate that the peer showed, acceptable or not.
    pub(super) fn presented(&self) -> Option<&CertificateDer<'static>> {
        self.presented.get()
    }

    /// Why it was not accepted, when that was it. A bad signature of the handshake is no such
    /// reason.
    pub(super) fn refused(&self) -> Option<&rustls::Error> {
        self.refused.get()
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match (self.trusted.judge_bytes(end_entity), &self.chain) {
            (Bytes::Accepted, _) => Ok(ServerCertVerified::assertion()),
            (Bytes::AskTheChain, Some(chain)) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, &[], now)
            }
            (Bytes::AskTheChain, None) => Err(CertificateError::UnknownIssuer.into()),
            (Bytes::Changed(_), _) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // One verifier serves one connection, so each of these is set at most once.
        let _ = self.presented.set(end_entity.clone().into_owned());
        let judged = self.judge(end_entity, intermediates, server_name, now);
        if let Err(error) = &judged {
            let _ = self.refused.set(error.clone());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
