//! A stand-in for the Oracle VM Manager: HTTPS, HTTP Basic, the list of repository ids.
//!
//! It answers the one request that a login makes, on a loopback port, with a certificate of its
//! own. It can also misbehave on purpose: answer late, with any status, or with a new certificate.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The request that a login makes.
const PATH: &str = "/ovm/core/wsapi/rest/Repository/id";

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    pem: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("pem", &self.pem)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// A fresh self-signed certificate for `localhost` and `127.0.0.1`, as a manager makes one
    /// when it is installed.
    ///
    /// # Errors
    /// When no key or certificate can be made.
    pub fn self_signed() -> io::Result<Self> {
        let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
        Ok(Self::new(
            vec![made.cert.der().clone()],
            key.map_err(io::Error::other)?,
            made.cert.pem(),
        ))
    }

    /// A certificate made elsewhere: the chain in DER, end entity first, its key, and the end
    /// entity in PEM.
    #[must_use]
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        pem: String,
    ) -> Self {
        Self {
            chain,
            key: Arc::new(key),
            pem,
        }
    }

    /// The end entity's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The end entity's certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(self.chain.clone(), self.key.clone_key())
            })
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// How the manager answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// By the credentials: 200 with the ids, or 401.
    Honest,
    /// Honest, but only after this long.
    Slow(Duration),
    /// Always with this status, whatever the credentials.
    Status(u16),
    /// 200 with a web page, whatever the credentials.
    WebPage,
}

/// A running stand-in. Dropping it closes its port and all its connections.
pub struct StandInManager {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// The header of the one user who may come in.
    authorization: String,
    repositories: Vec<String>,
    behaviour: Mutex<Behaviour>,
    identity: Mutex<(Identity, TlsAcceptor)>,
    connections: AtomicU64,
    requests: AtomicU64,
}

impl fmt::Debug for StandInManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandInManager")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl StandInManager {
    /// Starts on `address` (port 0 for any free one) with one user and the ids to answer with.
    ///
    /// # Errors
    /// When the port cannot be bound or the certificate not be used.
    pub async fn start(
        address: SocketAddr,
        user: &str,
        password: &str,
        repositories: Vec<String>,
        identity: Identity,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let acceptor = identity.acceptor()?;
        let shared = Arc::new(Shared {
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            repositories,
            behaviour: Mutex::new(Behaviour::Honest),
            identity: Mutex::new((identity, acceptor)),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://address:port`, as `ovm_endpoint` takes it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// HTTP requests seen so far, whatever their answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// Shows another certificate to the connections to come.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn show(&self, identity: Identity) -> io::Result<()> {
        let acceptor = identity.acceptor()?;
        *locked(&self.shared.identity) = (identity, acceptor);
        Ok(())
    }
}

impl Drop for StandInManager {
    fn drop(&mut self) {
        // The connections live in the task's set and end with it.
        self.accepting.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(tcp, shared.clone()));
            }
            // Out of descriptors, most likely: others will close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
    let acceptor = locked(&shared.identity).1.clone();
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let service = service_fn(|request| answer(request, &shared));
    // A client that goes away is no concern of a stand-in.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, Infallible> {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let behaviour = locked(&shared.behaviour).clone();
    let forced = match behaviour {
        Behaviour::Honest => None,
        Behaviour::Slow(wait) => {
            tokio::time::sleep(wait).await;
            None
        }
        Behaviour::Status(status) => Some(StatusCode::from_u16(status).unwrap_or_default()),
        Behaviour::WebPage => {
            let mut page = Response::new(Full::from("<html>Please log in</html>"));
            page.headers_mut().insert(CONTENT_TYPE, HTML);
            return Ok(page);
        }
    };
    let status = forced.unwrap_or_else(|| honest(&request, shared));
    let body = match status {
        StatusCode::OK => ids(&shared.repositories),
        _ => String::new(),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, BASIC);
    }
    if status.is_redirection() {
        headers.insert(LOCATION, LOGIN_PAGE);
    }
    Ok(response)
}

const JSON: hyper::header::HeaderValue =
    hyper::header::HeaderValue::from_static("application/json");
const HTML: hyper::header::HeaderValue = hyper::header::HeaderValue::from_static("text/html");
const BASIC: hyper::header::HeaderValue =
    hyper::header::HeaderValue::from_static("Basic realm=\"Oracle VM Manager\"");
const LOGIN_PAGE: hyper::header::HeaderValue =
    hyper::header::HeaderValue::from_static("/ovm/console/login");

fn honest<B>(request: &Request<B>, shared: &Shared) -> StatusCode {
    let sent = request
        .headers()
        .get(AUTHORIZATION)
        .map(hyper::header::HeaderValue::as_bytes);
    if sent != Some(shared.authorization.as_bytes()) {
        StatusCode::UNAUTHORIZED
    } else if request.method() != Method::GET {
        StatusCode::METHOD_NOT_ALLOWED
    } else if request.uri().path() != PATH {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    }
}

/// The list of ids in the manager's JSON.
fn ids(repositories: &[String]) -> String {
    let ids: Vec<_> = repositories
        .iter()
        .map(|id| serde_json::json!({ "type": "com.oracle.ovm.mgr.ws.model.Repository", "value": id }))
        .collect();
    serde_json::Value::Array(ids).to_string()
}
