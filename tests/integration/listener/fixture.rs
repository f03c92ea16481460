//! A listener on a free port, its certificates, and a client that speaks raw HTTP/1.1 over TLS.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use coriolis_ovm_exporter::config::Limits;
use coriolis_ovm_exporter::server::body_limit::{BodyLimits, read_json_body};
use coriolis_ovm_exporter::server::connection::ConnectionHandle;
use coriolis_ovm_exporter::server::connections::ConnectionRegistry;
use coriolis_ovm_exporter::server::listener::{Listener, Stopped};
use coriolis_ovm_exporter::server::tls::{ServerTls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Nothing in these tests takes longer unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Long limits: a test shortens the one it is about.
pub const LIMITS: Limits = Limits {
    max_body: 64 << 10,
    max_connections: 2000,
    handshake_timeout: DEADLINE,
    header_timeout: DEADLINE,
    idle_timeout: DEADLINE,
    stall_timeout: DEADLINE,
    shutdown_grace: DEADLINE,
};

/// An authority, and a folder with what it signed.
pub struct Pki {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, authority }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a pair `server.pem`, `server.key` for localhost; replaces what is there.
    pub fn write_server_pair(&self, key: &KeyPair) -> TlsFiles {
        let params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(key, &self.authority).unwrap();
        fs::write(self.path("server.pem"), certificate.pem()).unwrap();
        fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_authority: None,
        }
    }

    pub fn write_authority(&self) -> PathBuf {
        let path = self.path("ca.pem");
        fs::write(&path, self.authority.pem()).unwrap();
        path
    }

    /// A client's certificate and key.
    pub fn client_identity(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A client that trusts the authority, with or without a certificate of its own.
    pub fn connector(
        &self,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
        };
        // Full handshakes only: each one is to be seen.
        config.resumption = rustls::client::Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}

/// A running listener.
pub struct Server {
    pub address: SocketAddr,
    pub registry: Arc<ConnectionRegistry>,
    pub tls: Arc<ServerTls>,
    pub pki: Pki,
    pub connector: TlsConnector,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Server {
    pub async fn start(limits: Limits) -> Self {
        let pki = Pki::new();
        let files = pki.write_server_pair(&KeyPair::generate().unwrap());
        Self::start_with(limits, pki, files).await
    }

    pub async fn start_with(limits: Limits, pki: Pki, files: TlsFiles) -> Self {
        let tls = Arc::new(ServerTls::load(files).unwrap());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let (address, registry) = (listener.address(), listener.registry());
        let task = tokio::spawn(listener.serve(Arc::clone(&tls), router(), shutdown));
        Self {
            address,
            registry,
            tls,
            connector: pki.connector(None),
            pki,
            stop,
            task,
        }
    }

    pub fn open(&self) -> usize {
        self.registry.counts().open
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn client(&self) -> Client {
        Client::new(&self.connector, self.tcp().await)
            .await
            .unwrap()
    }

    /// A client whose kernel takes only a little before it has to read.
    pub async fn client_with_small_window(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let tcp = socket.connect(self.address).await.unwrap();
        Client::new(&self.connector, tcp).await.unwrap()
    }

    /// Gives the signal to stop; the task ends when serving has ended.
    pub fn stop(self) -> JoinHandle<Stopped> {
        self.stop.send(()).unwrap();
        self.task
    }
}

fn router() -> Router {
    Router::new()
        .route("/", get(async || "ok"))
        .route("/login", get(log_in))
        .route("/big", get(endless))
        .route("/slow", get(slow))
        .route("/json", post(json))
}

async fn log_in(Extension(connection): Extension<ConnectionHandle>) -> String {
    connection.mark_authenticated();
    connection.peer().to_string()
}

async fn endless() -> Body {
    let block = Bytes::from(vec![7_u8; 512 * 1024]);
    Body::from_stream(futures_util::stream::repeat_with(move || {
        Ok::<_, Infallible>(block.clone())
    }))
}

/// Ten lines, 50 ms apart.
async fn slow() -> Body {
    Body::from_stream(futures_util::stream::unfold(0, async |line| {
        if line == 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(format!("line {line}\n")), line + 1))
    }))
}

async fn json(request: Request) -> Response {
    let limits = BodyLimits {
        max_bytes: 1000,
        timeout: Duration::from_millis(300),
    };
    match read_json_body::<serde_json::Value>(request, &limits).await {
        Ok(value) => (StatusCode::OK, value.to_string()).into_response(),
        Err(error) => (error.status(), error.to_string()).into_response(),
    }
}

/// One TLS connection.
pub struct Client {
    pub stream: TlsStream<TcpStream>,
}

/// What came back: status line, headers, body by its Content-Length.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Client {
    pub async fn new(connector: &TlsConnector, tcp: TcpStream) -> std::io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within(connector.connect(name, tcp)).await?;
        Ok(Self { stream })
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    pub async fn get(&mut self, path: &str) -> std::io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await?;
        self.answer().await
    }

    /// Reads status and headers, byte by byte so that nothing of the body is taken.
    pub async fn head(&mut self) -> std::io::Result<String> {
        let read = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await?);
            }
            Ok(String::from_utf8(head).unwrap().to_ascii_lowercase())
        };
        within(read).await
    }

    pub async fn answer(&mut self) -> std::io::Result<Answer> {
        let head = self.head().await?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        within(self.stream.read_exact(&mut body)).await?;
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// Waits until the server has closed the connection; returns how long that took.
    pub async fn closed(&mut self) -> Duration {
        let began = Instant::now();
        let mut scratch = vec![0; 64 * 1024];
        let read = async { while matches!(self.stream.read(&mut scratch).await, Ok(1..)) {} };
        within(read).await;
        began.elapsed()
    }
}

/// The same, or a failure when it takes too long.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("within the deadline")
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
