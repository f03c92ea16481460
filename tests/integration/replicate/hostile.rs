//! A node that answers what it must not: the real one's answers, exchanged on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coriolis_ovm_exporter::client::replicate::{How, ReplicateError};
use coriolis_ovm_exporter::client::{Client, ClientError, Comparison, DiskOf};
use coriolis_ovm_exporter::protocol::delta::{Compression, Encoder, FRAME_HEAD, StreamHeader};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::super::support::node::{PASSWORD, TestNode, USER};
use super::scene::{MIB, Scene, VM};

/// What is made of an answer: another body, or a status.
type Change = dyn Fn(&str, Vec<u8>) -> Result<Vec<u8>, u16> + Send + Sync;

/// Passes requests on to a node, with its certificate, and changes what it answers.
pub struct StandIn {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl StandIn {
    /// `change` is asked for every answer that is a success, with path and query.
    pub async fn of(
        node: &TestNode,
        change: impl Fn(&str, Vec<u8>) -> Result<Vec<u8>, u16> + Send + Sync + 'static,
    ) -> StandIn {
        let chain = CertificateDer::pem_file_iter(node.path("srv-pub.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(node.path("srv-key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let change: Arc<Change> = Arc::new(change);
        let (http, endpoint) = (node.http(), node.endpoint());
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, change) = (acceptor.clone(), Arc::clone(&change));
                let (http, endpoint) = (http.clone(), endpoint.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(move |request| {
                        answer(http.clone(), endpoint.clone(), Arc::clone(&change), request)
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        StandIn { address, task }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    pub async fn client(&self, node: &TestNode) -> Client {
        Client::login(&self.endpoint(), USER, PASSWORD, &node.trust())
            .await
            .unwrap()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    http: reqwest::Client,
    endpoint: String,
    change: Arc<Change>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let asked = head.uri.path_and_query().unwrap().as_str().to_owned();
    let mut passed = http.request(head.method, format!("{endpoint}{asked}"));
    for name in ["authorization", "content-type"] {
        if let Some(value) = head.headers.get(name) {
            passed = passed.header(name, value);
        }
    }
    let body = body.collect().await.unwrap().to_bytes();
    let got = passed.body(body).send().await.unwrap();
    let mut status = got.status();
    let mut bytes = got.bytes().await.unwrap().to_vec();
    if status.is_success() {
        match change(&asked, bytes) {
            Ok(changed) => bytes = changed,
            Err(other) => {
                status = StatusCode::from_u16(other).unwrap();
                bytes = br#"{"error": "stand-in", "details": "not here"}"#.to_vec();
            }
        }
    }
    let mut response = Response::new(Full::from(bytes));
    *response.status_mut() = status;
    Ok(response)
}

/// Where the frames of an unpacked stream begin, and where it ends.
fn frames(stream: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_le_bytes(stream[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 16 + number(12) + 4;
    let mut starts = vec![at];
    while at < stream.len() {
        at += FRAME_HEAD + number(at + 4);
        starts.push(at);
    }
    starts
}

/// The header's JSON, changed, with a stream of zeros from there to its end.
pub fn another(stream: &[u8], change: impl Fn(&mut StreamHeader)) -> Vec<u8> {
    let length = u32::from_le_bytes(stream[12..16].try_into().unwrap()) as usize;
    let mut header: StreamHeader = serde_json::from_slice(&stream[16..16 + length]).unwrap();
    change(&mut header);
    let (mut encoder, mut made) = Encoder::new(&header, Compression::None).unwrap();
    if header.from < header.end() {
        let zeros = header.end() - header.from;
        made.extend_from_slice(&encoder.zero(header.from, zeros).unwrap());
    }
    made.extend(encoder.end(0).unwrap());
    made
}

fn a_delta(change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&str, Vec<u8>) -> Result<Vec<u8>, u16> {
    move |asked, body| {
        Ok(if asked.contains("/delta?") {
            change(body)
        } else {
            body
        })
    }
}

/// A replica that is up to date, a change on the disk, and a run through a stand-in that fails.
async fn fails(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> ReplicateError {
    let scene = Scene::with_disk(4 * MIB).await;
    scene.run().await;
    let before = scene.state();
    scene.write(0, MIB, &[7; 4096]);
    scene.write(0, 3 * MIB, &[8; 4096]);
    let stand_in = StandIn::of(&scene.node, a_delta(change)).await;
    let client = stand_in.client(&scene.node).await;
    let run = scene.replication_from(client);
    let error = run
        .patience(Duration::from_secs(1))
        .run()
        .await
        .unwrap_err();
    println!("{error}");
    let state = scene.state();
    assert_eq!((state.base, &state.disks), (before.base, &before.disks));
    assert!(error.to_string().contains("a.img"), "{error}");
    // What it has written before may be wrong too.
    if matches!(error, ReplicateError::Invalid { .. }) {
        assert!(state.suspect.contains_key("a.img"), "{state:?}");
    }
    // From an honest node everything is found out.
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Incremental);
    assert!(outcome.finished.is_some());
    error
}

fn invalid(error: &ReplicateError) -> &str {
    match error {
        ReplicateError::Invalid { what, .. } => what,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_refused_with_frame_and_offset() {
    let error = fails(|mut stream| {
        let second = frames(&stream)[1];
        stream[second + FRAME_HEAD + 5] ^= 1;
        stream
    })
    .await;
    let what = invalid(&error);
    assert!(
        what.contains("frame 1") && what.contains("offset 1052672"),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_in_another_order_are_refused() {
    let error = fails(|stream| {
        let at = frames(&stream);
        let parts = [0..at[0], at[1]..at[2], at[0]..at[1], at[2]..stream.len()];
        parts
            .into_iter()
            .flat_map(|part| stream[part].to_vec())
            .collect()
    })
    .await;
    assert!(invalid(&error).contains("frame 1 comes where frame 0 should"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_always_cut_off_is_never_complete() {
    let error = fails(|stream| {
        let at = frames(&stream);
        stream[..at[0] + 10].to_vec()
    })
    .await;
    assert!(matches!(error, ReplicateError::Copy { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_end_are_refused() {
    let error = fails(|mut stream| {
        stream.extend_from_slice(b"more");
        stream
    })
    .await;
    invalid(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_something_else_are_refused() {
    let other: [fn(&mut StreamHeader); 5] = [
        |header| header.size += 4096,
        |header| header.snapshot = Uuid::from_u128(7),
        |header| header.disk = "b.img".to_owned(),
        |header| header.base = Some(Uuid::from_u128(7)),
        |header| header.to = Some(4096),
    ];
    for change in other {
        let error = fails(move |stream| another(&stream, change)).await;
        assert!(invalid(&error).contains("asked for"), "{error}");
    }
}

/// It digests something else than what it sends: a check finds that.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sends_other_bytes_than_it_digests_is_found_out() {
    let scene = Scene::with_disk(4 * MIB).await;
    scene.run().await;
    scene.write(0, MIB, &[7; 4096]);
    let change = a_delta(|stream| another(&stream, |_| {}));
    let stand_in = StandIn::of(&scene.node, change).await;
    let client = stand_in.client(&scene.node).await;
    let error = scene
        .replication_from(client)
        .verified()
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, ReplicateError::Mismatch { .. }), "{error}");
    let outcome = scene.run().await;
    assert!(outcome.finished.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_that_are_not_what_was_asked_for_are_refused() {
    let scene = Scene::with_disk(4 * MIB).await;
    let base = scene.run().await.snapshot;
    scene.delete(base).await;
    let stand_in = StandIn::of(&scene.node, |asked, body| {
        if !asked.contains("/digests?") {
            return Ok(body);
        }
        let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["digests"].as_array_mut().unwrap().pop();
        Ok(answer.to_string().into_bytes())
    })
    .await;
    let client = stand_in.client(&scene.node).await;
    let error = scene.replication_from(client).run().await.unwrap_err();
    assert!(error.to_string().contains("3 digests"), "{error}");
    scene.run().await;
}

/// An answer of one thing is small, whoever answers; a page of ranges need not be.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_read_as_far_as_one_of_its_kind_may_be_large() {
    let scene = Scene::with_disk(4 * MIB).await;
    let snapshot = scene.run().await.snapshot;
    let padded = |mut body: Vec<u8>| {
        body.resize(body.len() + (5 << 20), b' ');
        body
    };
    let stand_in = StandIn::of(&scene.node, move |asked, body| {
        Ok(if asked.contains("login") {
            body
        } else {
            padded(body)
        })
    })
    .await;
    let client = stand_in.client(&scene.node).await;
    for error in [
        client.vm(VM).await.unwrap_err(),
        client
            .snapshot_without_ranges(VM, snapshot)
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, ClientError::TooLarge { .. }) && !error.is_transient(),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("4194304 bytes") && text.contains("its kind"),
            "{text}"
        );
    }
    let disk = DiskOf {
        vm: VM,
        snapshot,
        disk: "a.img",
    };
    let whole = Comparison::default();
    let page = client.ranges(&disk, &whole, 0, None).await.unwrap();
    assert!(!page.ranges.is_empty());
    assert!(!client.vms().await.unwrap().is_empty());
    assert_eq!(
        client.snapshot(VM, snapshot, None).await.unwrap().id,
        snapshot
    );
}
