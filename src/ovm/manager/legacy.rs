//! The handshake with an old manager, by OpenSSL at security level 0: TLS 1.0 and 1.1, CBC, RSA
//! key exchange, RSA-1024, SHA-1, X.509 v1.
//!
//! Two uses: with `ovm_legacy_tls` the connection is made here, the certificate judged by its
//! bytes or by the CA file before anything is sent. Without it, only the diagnosis runs here: a
//! handshake that judges nothing and is closed without a byte of data.

use std::net::SocketAddr;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use openssl::x509::{X509, X509VerifyResult};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::Session;
use super::connect::Connected;
use super::endpoint::{Endpoint, Host};
use super::error::ManagerError;
use super::fingerprint::Fingerprint;
use super::peer::Peer;
use super::trust::{Bytes, Trusted};

/// Everything that encrypts and has a certificate. Ciphers without either stay forbidden: with
/// them, a certificate judged is no protection.
const CIPHERS: &str = "ALL:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0";

/// Shakes hands with whatever the manager speaks and judges its certificate.
pub(super) async fn handshake(
    connected: Connected,
    endpoint: &Endpoint,
    trusted: &Trusted,
) -> Result<Session<SslStream<TcpStream>>, ManagerError> {
    let broken = |reason: String| ManagerError::Handshake {
        endpoint: endpoint.clone(),
        reason,
    };
    let ssl = judging(endpoint, trusted).map_err(|error| broken(error.to_string()))?;
    let mut stream =
        SslStream::new(ssl, connected.tcp).map_err(|error| broken(error.to_string()))?;
    if let Err(error) = Pin::new(&mut stream).connect().await {
        let error = explain(&error);
        return Err(
            match error.contains("wrong version number") || error.contains("packet length") {
                true => ManagerError::NotTls {
                    endpoint: endpoint.clone(),
                },
                false => broken(error),
            },
        );
    }
    // The handshake is complete: the peer owns the key of this certificate (OpenSSL checks that
    // in every verify mode). Whether the certificate is the right one is judged here.
    let der = stream
        .ssl()
        .peer_certificate()
        .ok_or_else(|| broken("the manager showed no certificate".to_owned()))?
        .to_der()
        .map_err(|error| broken(error.to_string()))?;
    let fingerprint = Fingerprint::of(&der);
    match trusted.judge_bytes(&der) {
        Bytes::Accepted => {}
        Bytes::Changed(change) => {
            return Err(trusted.changed(endpoint, change));
        }
        Bytes::AskTheChain => match stream.ssl().verify_result() {
            X509VerifyResult::OK => {}
            failed => {
                let reason = failed.error_string().to_owned();
                return Err(trusted.untrusted(endpoint, fingerprint, reason));
            }
        },
    }
    Ok(Session {
        stream,
        fingerprint,
        certificate: der,
    })
}

/// Connects anew, shakes hands, notes what was agreed on, and closes. Sends no data.
pub(super) async fn what_it_speaks(
    address: SocketAddr,
    endpoint: &Endpoint,
) -> Result<Peer, String> {
    let tcp = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let ssl = context()
        .and_then(|context| for_host(&context.build(), endpoint))
        .map_err(|error| error.to_string())?;
    let mut stream = SslStream::new(ssl, tcp).map_err(|error| error.to_string())?;
    Pin::new(&mut stream)
        .connect()
        .await
        .map_err(|error| explain(&error))?;
    Ok(Peer::of(stream.ssl()))
}

/// A client context that speaks everything down to TLS 1.0.
fn context() -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_security_level(0);
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_cipher_list(CIPHERS)?;
    // The chain is judged all the same; its verdict is asked for after the handshake, because a
    // pinned certificate, or one named byte for byte, need not have a chain.
    context.set_verify(SslVerifyMode::NONE);
    Ok(context)
}

fn for_host(context: &SslContext, endpoint: &Endpoint) -> Result<Ssl, ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    if let Host::Name(name) = endpoint.host() {
        ssl.set_hostname(name)?;
    }
    Ok(ssl)
}

/// With a CA file: the chain must end in one of its certificates and bear the host's name.
fn judging(endpoint: &Endpoint, trusted: &Trusted) -> Result<Ssl, ErrorStack> {
    let mut context = context()?;
    let mut store = X509StoreBuilder::new()?;
    for anchor in trusted.anchors() {
        store.add_cert(X509::from_der(anchor)?)?;
    }
    context.set_cert_store(store.build());
    let mut ssl = for_host(&context.build(), endpoint)?;
    let param = ssl.param_mut();
    // As with rustls: an intermediate in the CA file is an anchor as good as a root.
    param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
    match endpoint.host() {
        Host::Name(name) => param.set_host(name)?,
        Host::Address(address) => param.set_ip(*address)?,
    }
    Ok(ssl)
}

/// OpenSSL's reason without its file names and line numbers.
fn explain(error: &openssl::ssl::Error) -> String {
    match error.ssl_error() {
        Some(stack) => {
            let reasons: Vec<_> = stack.errors().iter().filter_map(|e| e.reason()).collect();
            match reasons.is_empty() {
                true => error.to_string(),
                false => reasons.join(", "),
            }
        }
        None => match error.io_error() {
            Some(io) => io.to_string(),
            None => "the manager closed the connection".to_owned(),
        },
    }
}
