//! A TLS connection on which a test writes its own bytes.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::api::Answer;
use super::node::TestNode;

/// Nothing takes longer unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The same, or a failure when it takes too long.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("within the deadline")
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    pub stream: TlsStream<TcpStream>,
}

/// Opens connections to a node.
#[derive(Clone)]
pub struct Dialler {
    connector: TlsConnector,
    address: std::net::SocketAddr,
}

impl Dialler {
    pub fn of(node: &TestNode) -> Dialler {
        Dialler::at(node, node.address())
    }

    /// To a daemon of the node's that listens there.
    pub fn at(node: &TestNode, address: std::net::SocketAddr) -> Dialler {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(node.authority.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Dialler {
            connector: TlsConnector::from(Arc::new(config)),
            address,
        }
    }

    /// Without a handshake.
    pub async fn tcp(&self) -> io::Result<TcpStream> {
        within(TcpStream::connect(self.address)).await
    }

    pub async fn open(&self) -> io::Result<Wire> {
        let tcp = self.tcp().await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within(self.connector.connect(name, tcp)).await?;
        Ok(Wire { stream })
    }
}

impl Wire {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Sends a request without a body, its target as it stands, and reads the answer.
    pub async fn ask(&mut self, method: &str, target: &str, more: &str) -> io::Result<Answer> {
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"
        ))
        .await?;
        within(self.answer(method == "HEAD")).await
    }

    /// Reads an answer, its body by `Content-Length`.
    pub async fn answer(&mut self, is_head: bool) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::try_from(value).unwrap())
            })
            .collect();
        let length = headers
            .get("content-length")
            .filter(|_| !is_head)
            .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Answer {
            status: status.parse().unwrap(),
            headers,
            body: body.into(),
        })
    }

    /// Reads until the peer has closed the connection.
    pub async fn drain(&mut self) {
        let mut scratch = vec![0; 64 * 1024];
        while matches!(self.stream.read(&mut scratch).await, Ok(1..)) {}
    }
}
