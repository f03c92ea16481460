use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientError;

/// Which server certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that the platform's authorities have signed.
    Platform,
    /// Those that these authorities (PEM) have signed, and no others.
    Authority(Vec<u8>),
    /// Any. For tests on a machine of one's own.
    Anything,
}

/// How long a node may take to accept a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life that often.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(20);
/// And given up where sent bytes are not acknowledged for so long: the node, or the way, is dead.
pub(super) const DEAD: Duration = Duration::from_secs(60);

/// A general client without limit for a whole answer: some are disks. It uses no connection twice: a
/// request may wait without end where a used one ends in the same instant (`wire/ending.rs`).
pub(super) fn general() -> ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(0)
        .tcp_keepalive(KEEPALIVE)
        .tcp_user_timeout(DEAD)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
}

impl Trust {
    /// Connections that believe in this, and the same for other connections than those.
    pub(super) fn connections(
        &self,
    ) -> Result<(reqwest::Client, Option<Arc<ClientConfig>>), ClientError> {
        let builder = general();
        // What rustls does not take, the general client says what is wrong with.
        match self.tls() {
            Ok(tls) => {
                self.check()?;
                let client = builder.tls_backend_preconfigured(tls.clone()).build()?;
                Ok((client, Some(Arc::new(tls))))
            }
            Err(_) => Ok((self.believed_by(builder)?.build()?, None)),
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        if let Trust::Authority(pem) = self {
            Certificate::from_pem_bundle(pem)?;
        }
        Ok(())
    }

    fn believed_by(&self, builder: ClientBuilder) -> Result<ClientBuilder, ClientError> {
        Ok(match self {
            Trust::Platform => builder,
            Trust::Authority(pem) => builder.tls_certs_only(Certificate::from_pem_bundle(pem)?),
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        })
    }

    /// One configuration for every connection, whoever makes it.
    fn tls(&self) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)?;
        let builder = match self {
            Trust::Platform => {
                let verifier = rustls_platform_verifier::Verifier::new(provider)?;
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(Arc::new(verifier))
            }
            Trust::Authority(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate?)?;
                }
                builder.with_root_certificates(roots)
            }
            Trust::Anything => {
                let schemes = provider
                    .signature_verification_algorithms
                    .supported_schemes();
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(Arc::new(Credulous { schemes }))
            }
        };
        let mut tls = builder.with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

/// The process's own cryptography if it has chosen one, else AWS's; the cipher that costs least
/// first, which counts where a server follows its clients.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let chosen = CryptoProvider::get_default().map(|chosen| chosen.as_ref().clone());
    let mut provider = chosen.unwrap_or_else(aws_lc_rs::default_provider);
    let is_cheapest = |suite: CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    // Stable: TLS 1.3 stays before 1.2.
    provider
        .cipher_suites
        .sort_by_key(|suite| (suite.tls13().is_none(), !is_cheapest(suite.suite())));
    Arc::new(provider)
}

/// Believes any certificate.
#[derive(Debug)]
struct Credulous {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
