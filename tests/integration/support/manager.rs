//! Managers to log in at: the stand-in of the demo, and old or wrong ones made with OpenSSL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coriolis_ovm_exporter::operations::demo::manager::{Identity, StandInManager};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse: battery";
/// Base64 of `USER:PASSWORD`, as it must never show up anywhere.
pub const BASIC: &str = "YWRtaW46Y29ycmVjdCBob3JzZTogYmF0dGVyeQ==";

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The stand-in manager with [`USER`] and [`PASSWORD`].
pub async fn stand_in(identity: Identity) -> StandInManager {
    let ids = vec!["0004fb0000030000aabbccddeeff0011".to_owned()];
    StandInManager::start(any_port(), USER, PASSWORD, ids, identity)
        .await
        .unwrap()
}

/// A manager's certificate as OpenSSL makes it.
#[derive(Clone)]
pub struct OldIdentity {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl OldIdentity {
    /// `version` is 1 or 3; only v3 carries the names `localhost` and `127.0.0.1`.
    pub fn self_signed(bits: u32, version: i32, digest: MessageDigest) -> Self {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(version - 1).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder
            .set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap())
            .unwrap();
        builder
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::days_from_now(30).unwrap())
            .unwrap();
        builder.set_pubkey(&key).unwrap();
        if version == 3 {
            let names = SubjectAlternativeName::new()
                .dns("localhost")
                .ip("127.0.0.1")
                .build(&builder.x509v3_context(None, None))
                .unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(&key, digest).unwrap();
        Self {
            certificate: builder.build(),
            key,
        }
    }

    /// A certificate made elsewhere, both parts in PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Self {
        Self {
            certificate: X509::from_pem(certificate.as_bytes()).unwrap(),
            key: PKey::private_key_from_pem(key.as_bytes()).unwrap(),
        }
    }
}

/// A manager that speaks one protocol with given ciphers. Answers 200 or 401; counts requests.
pub struct OldManager {
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl OldManager {
    pub async fn start(version: SslVersion, ciphers: &str, identity: &OldIdentity) -> Self {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        context.set_security_level(0);
        context.set_min_proto_version(Some(version)).unwrap();
        context.set_max_proto_version(Some(version)).unwrap();
        context
            .set_cipher_list(&format!("{ciphers}:@SECLEVEL=0"))
            .unwrap();
        context.set_certificate(&identity.certificate).unwrap();
        context.set_private_key(&identity.key).unwrap();
        let context = context.build();

        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (ssl, counter) = (Ssl::new(&context).unwrap(), counter.clone());
                connections.spawn(async move {
                    let mut stream = tokio_openssl::SslStream::new(ssl, tcp).unwrap();
                    if std::pin::Pin::new(&mut stream).accept().await.is_ok() {
                        answer(stream, &counter).await;
                    }
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for OldManager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Any byte of data counts as a request: credentials may be in it.
async fn answer<S>(mut stream: S, requests: &AtomicU64)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if request.is_empty() {
                    requests.fetch_add(1, Ordering::SeqCst);
                }
                request.extend_from_slice(&buffer[..read]);
            }
        }
    }
    let request = String::from_utf8(request).unwrap();
    let good = request.starts_with("GET /ovm/core/wsapi/rest/Repository/id HTTP/1.1\r\n")
        && request.contains(BASIC);
    let status = if good { "200 OK" } else { "401 Unauthorized" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A server that shows somebody else's certificate: it has a key, but not the certificate's.
/// Answers 200 to everybody that speaks to it.
pub struct Impostor {
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Impostor {
    pub async fn with_certificate_of(
        victim: &[u8],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let chain = vec![rustls::pki_types::CertificateDer::from(victim.to_vec())];
        let shown = rustls::sign::CertifiedKey::new(chain, key);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(tcp).await {
                    answer(stream, &counter).await;
                }
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
