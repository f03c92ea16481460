//! A worker with Coriolis's HTTPS writer: mutual TLS, devices that are files, and faults.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coriolis_ovm_exporter::client::target::coriolis::{HttpsWorker, WorkerKeys};
use coriolis_ovm_exporter::protocol::digest::{Algorithm, BlockDigests};
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Whom both sides believe.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::self_signed(parameters, key).unwrap(),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key.
    pub fn sign(&self, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let signed = parameters.signed_by(&key, &self.issuer).unwrap();
        (signed.pem(), key.serialize_pem())
    }

    /// What a client needs.
    pub fn keys(&self) -> WorkerKeys {
        let (certificate, key) = self.sign(ExtendedKeyUsagePurpose::ClientAuth);
        WorkerKeys {
            authority: self.pem().into_bytes(),
            certificate: certificate.into_bytes(),
            key: key.into_bytes(),
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered so, and nothing is done.
    Refuse(u16),
    /// It is done, and answered so.
    DoAndRefuse(u16),
    /// The connection is cut after so many bytes of the body.
    CutBody(usize),
    /// Half of the bytes are written, and the connection is cut.
    HalfAndCut,
    /// It is answered late.
    Late(Duration),
    /// It is not answered before the worker is woken.
    Hang,
    /// It is done and answered; the connection ends after so many turns of the worker's, and nobody has
    /// said that it would.
    EndAfter(usize),
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `acquire`, `release`, `write`, `checksum`, `look`, `drop`.
    pub what: &'static str,
    pub device: String,
    /// Of a write, where and how much.
    pub offset: u64,
    pub length: usize,
    pub is_gzip: bool,
    pub status: u16,
}

type Plan = dyn Fn(&Asked) -> Option<Fault> + Send + Sync;

#[derive(Default)]
struct State {
    folder: PathBuf,
    /// Who holds which device.
    held: BTreeMap<String, String>,
    jobs: BTreeMap<String, Value>,
    asked: Vec<Asked>,
    writing: usize,
    most_writing: usize,
    /// Bytes are changed before they are written.
    corrupt: bool,
    /// Checksum jobs end like this instead.
    job: Option<Value>,
    plan: Option<Arc<Plan>>,
}

pub struct Worker {
    pub authority: Authority,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    woken: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Devices lie in this folder, by the last parts of their paths.
    pub async fn start(folder: &Path) -> Worker {
        Worker::with(folder, Authority::new(), None).await
    }

    /// `clients`: whose certificates are believed, if not the authority's.
    pub async fn with(folder: &Path, authority: Authority, clients: Option<&Authority>) -> Worker {
        let (certificate, key) = authority.sign(ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let believed = clients.unwrap_or(&authority).pem();
        roots
            .add(CertificateDer::from_pem_slice(believed.as_bytes()).unwrap())
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            folder: folder.to_owned(),
            ..State::default()
        }));
        let woken = Arc::new(Notify::new());
        let (all, wake) = (Arc::clone(&state), Arc::clone(&woken));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, state, woken) =
                    (acceptor.clone(), Arc::clone(&all), Arc::clone(&wake));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let end = Arc::new(Notify::new());
                    let ended = Arc::clone(&end);
                    let service = service_fn(move |request| {
                        let (state, woken) = (Arc::clone(&state), Arc::clone(&woken));
                        answer(state, woken, Arc::clone(&end), request)
                    });
                    // An error of the service cuts the connection.
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service);
                    tokio::select! {
                        _ = serving => {}
                        () = ended.notified() => {}
                    }
                });
            }
        });
        Worker {
            authority,
            address,
            state,
            woken,
            task,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// A connection of one who is believed.
    pub fn connect(&self) -> HttpsWorker {
        HttpsWorker::at(&self.endpoint(), &self.authority.keys()).unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes a device.
    pub fn attach(&self, device: &str, bytes: &[u8]) {
        std::fs::write(self.file(device), bytes).unwrap();
    }

    pub fn file(&self, device: &str) -> PathBuf {
        file_of(&self.state().folder, device)
    }

    pub fn bytes(&self, device: &str) -> Vec<u8> {
        std::fs::read(self.file(device)).unwrap()
    }

    /// What goes wrong from now on: asked for every request, before it is dealt with.
    pub fn plan(&self, plan: impl Fn(&Asked) -> Option<Fault> + Send + Sync + 'static) {
        self.state().plan = Some(Arc::new(plan));
    }

    /// Nothing goes wrong any more, and what hangs goes on.
    pub fn mend(&self) {
        let mut state = self.state();
        (state.plan, state.corrupt, state.job) = (None, false, None);
        drop(state);
        self.woken.notify_waiters();
    }

    /// What is written from now on arrives damaged.
    pub fn corrupt(&self) {
        self.state().corrupt = true;
    }

    /// Checksum jobs end like this from now on.
    pub fn end_jobs_with(&self, job: Value) {
        self.state().job = Some(job);
    }

    /// Everything that was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// Writes that were under way at the same time.
    pub fn most_writing(&self) -> usize {
        self.state().most_writing
    }

    /// Devices that somebody holds.
    pub fn held(&self) -> Vec<String> {
        self.state().held.keys().cloned().collect()
    }

    pub fn hold(&self, device: &str, token: &str) {
        let mut state = self.state();
        state.held.insert(device.to_owned(), token.to_owned());
    }

    pub fn jobs(&self) -> usize {
        self.state().jobs.len()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn file_of(folder: &Path, device: &str) -> PathBuf {
    folder.join(device.rsplit('/').next().unwrap())
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

fn reply(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .body(Full::new(body.into()))
        .unwrap()
}

fn cut() -> Answer {
    Err(std::io::Error::other("cut"))
}

async fn answer(
    state: Arc<Mutex<State>>,
    woken: Arc<Notify>,
    end: Arc<Notify>,
    request: Request<Incoming>,
) -> Answer {
    let (head, mut body) = request.into_parts();
    // The base64 of a path may have slashes.
    let path = head.uri.path().strip_prefix("/api/v2/device/").unwrap();
    let (device, call, job) = match path.rsplit_once('/') {
        Some((device, call @ ("acquire" | "release" | "checksumJob"))) => (device, call, ""),
        Some((rest, job)) if rest.ends_with("/checksumJob") => {
            (rest.strip_suffix("/checksumJob").unwrap(), "job", job)
        }
        _ => (path, "", ""),
    };
    let device = String::from_utf8(STANDARD.decode(device).unwrap()).unwrap();
    let what = match (&head.method, call) {
        (&Method::POST, "acquire") => "acquire",
        (&Method::POST, "release") => "release",
        (&Method::POST, "checksumJob") => "checksum",
        (&Method::POST, "") => "write",
        (&Method::GET, "job") => "look",
        (&Method::DELETE, "job") => "drop",
        other => panic!("{other:?} is no call"),
    };
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let token = header("X-Client-Token").unwrap_or_default().to_owned();
    let mut asked = Asked {
        what,
        device: device.clone(),
        offset: header("X-Write-Offset").map_or(0, |text| text.parse().unwrap()),
        length: 0,
        is_gzip: header(CONTENT_ENCODING.as_str()) == Some("gzip"),
        status: 0,
    };
    let plan = state.lock().unwrap().plan.clone();
    let fault = plan.and_then(|plan| plan(&asked));
    if let Some(Fault::CutBody(after)) = fault {
        let mut got = 0;
        while got < after
            && let Some(frame) = body.frame().await
        {
            got += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        return cut();
    }
    {
        let mut state = state.lock().unwrap();
        state.writing += usize::from(what == "write");
        state.most_writing = state.most_writing.max(state.writing);
    }
    let whole = body.collect().await.map(|whole| whole.to_bytes());
    match fault {
        Some(Fault::Late(time)) => tokio::time::sleep(time).await,
        Some(Fault::Hang) => woken.notified().await,
        _ => {}
    }
    let mut state = state.lock().unwrap();
    state.writing -= usize::from(what == "write");
    // A client that has gone away in the middle.
    let Ok(body) = whole else {
        return cut();
    };
    let mut bytes = body.to_vec();
    if asked.is_gzip {
        bytes.clear();
        GzDecoder::new(&body[..]).read_to_end(&mut bytes).unwrap();
    }
    asked.length = bytes.len();
    let response = match fault {
        Some(Fault::Refuse(status)) => reply(status, "the worker was told to"),
        Some(Fault::HalfAndCut) => {
            bytes.truncate(bytes.len() / 2);
            done(&mut state, &asked, &token, job, &bytes);
            state.asked.push(asked);
            return cut();
        }
        _ => {
            let response = done(&mut state, &asked, &token, job, &bytes);
            match fault {
                Some(Fault::DoAndRefuse(status)) => reply(status, "after all"),
                Some(Fault::EndAfter(turns)) => {
                    tokio::spawn(async move {
                        for _ in 0..turns {
                            tokio::task::yield_now().await;
                        }
                        end.notify_one();
                    });
                    response
                }
                _ => response,
            }
        }
    };
    asked.status = response.status().as_u16();
    state.asked.push(asked);
    Ok(response)
}

fn done(
    state: &mut State,
    asked: &Asked,
    token: &str,
    job: &str,
    bytes: &[u8],
) -> Response<Full<Bytes>> {
    let file = file_of(&state.folder, &asked.device);
    if !file.exists() {
        return reply(404, "no such device");
    }
    let is_ours = state.held.get(&asked.device).map(String::as_str) == Some(token);
    match asked.what {
        "acquire" => {
            assert!(Uuid::parse_str(token).unwrap().get_version_num() == 4);
            if state.held.contains_key(&asked.device) && !is_ours {
                return reply(409, "somebody else has acquired it");
            }
            state.held.insert(asked.device.clone(), token.to_owned());
            reply(200, "")
        }
        "release" => {
            if !is_ours {
                return reply(403, "not acquired");
            }
            state.held.remove(&asked.device);
            reply(200, "")
        }
        "write" => {
            if !is_ours {
                return reply(403, "not acquired");
            }
            let file = File::options().write(true).open(&file).unwrap();
            let end = asked.offset + bytes.len() as u64;
            if end > file.metadata().unwrap().len() {
                return reply(400, "past the end of the device");
            }
            let mut bytes = bytes.to_vec();
            if state.corrupt {
                bytes.iter_mut().for_each(|byte| *byte ^= 0x20);
            }
            file.write_all_at(&bytes, asked.offset).unwrap();
            reply(204, "")
        }
        "checksum" => {
            if !is_ours {
                return reply(403, "not acquired");
            }
            let told: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(told["checksum_algorithm"], "sha256");
            let held = std::fs::read(&file).unwrap();
            let number = |key: &str| usize::try_from(told[key].as_u64().unwrap()).unwrap();
            let end = match number("end_offset") {
                0 => held.len(),
                end => end,
            };
            let mut digests = BlockDigests::new(Algorithm::Sha256, None);
            digests.take(&held[number("start_offset")..end]);
            let id = Uuid::new_v4().to_string();
            let made = json!({
                "execution_status": "finished",
                "checksum_value": digests.finish().whole,
                "checksum_algorithm": "sha256",
                "error_message": "",
            });
            let made = state.job.clone().unwrap_or(made);
            // The first look comes too early.
            state.jobs.insert(
                id.clone(),
                json!({ "then": made, "execution_status": "running" }),
            );
            reply(200, json!({ "job_id": id }).to_string())
        }
        "look" => match state.jobs.get_mut(job) {
            None => reply(404, "no such job"),
            Some(now) => {
                let told = now.clone();
                if let Some(then) = now.as_object_mut().unwrap().remove("then") {
                    *now = then;
                }
                reply(200, told.to_string())
            }
        },
        "drop" => {
            let status = if state.jobs.remove(job).is_some() {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::NOT_FOUND
            };
            reply(status.as_u16(), "")
        }
        other => panic!("{other}"),
    }
}
