use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::capture_connection;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream as Served;

use super::ending::{GRACE, unless_ended};
use super::tls::TlsStream;
use super::{Wire, passes_a_proxy};
use crate::client::{Client, ClientError, Comparison, DiskOf, Trust};
use crate::protocol::delta::Compression;

/// A certificate for `localhost`, and both sides that use it.
struct Sides {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    pem: String,
}

fn sides(version: &'static SupportedProtocolVersion) -> Sides {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Sides {
        client: Arc::new(client),
        server: Arc::new(server),
        pem: made.cert.pem(),
    }
}

/// The same, where the server wants a certificate of the client's, too.
fn mutual(version: &'static SupportedProtocolVersion) -> Sides {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = || PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let roots = Arc::new(roots);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![der.clone()], key().into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![der], key().into())
        .unwrap();
    Sides {
        client: Arc::new(client),
        server: Arc::new(server),
        pem: made.cert.pem(),
    }
}

/// Both ends of a connection.
async fn pair(sides: &Sides) -> (TlsStream, Served<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(&sides.server));
    let serving = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsStream::connect(tcp, Arc::clone(&sides.client), name);
    let (client, server) = tokio::join!(connecting, serving);
    (client.unwrap(), server.unwrap())
}

fn bytes(length: usize) -> Vec<u8> {
    (0_u32..)
        .take(length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[tokio::test]
async fn bytes_come_as_they_were_sent_whatever_the_pieces() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let sides = sides(version);
        let (mut client, mut server) = pair(&sides).await;
        let sent = bytes(3_000_000);
        let copy = sent.clone();
        let serving = tokio::spawn(async move {
            let mut asked = [0; 5];
            server.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"begin");
            let mut rest = copy.as_slice();
            for length in [1, 0, 20_000, 3, 700_000, 16_384, usize::MAX] {
                let (now, later) = rest.split_at(length.min(rest.len()));
                server.write_all(now).await.unwrap();
                server.flush().await.unwrap();
                rest = later;
            }
            // TLS's own end.
            server.shutdown().await.unwrap();
        });
        client.write_all(b"begin").await.unwrap();
        client.flush().await.unwrap();
        let mut got = Vec::new();
        for room in [1, 7, 100, 16_384, 30_000, 300_000].into_iter().cycle() {
            let mut buffer = vec![0; room];
            match client.read(&mut buffer).await.unwrap() {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        serving.await.unwrap();
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
        client.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_shows_a_certificate_sends_what_it_is_given_in_any_pieces() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let sides = mutual(version);
        let (mut client, mut server) = pair(&sides).await;
        assert_eq!(server.get_ref().1.peer_certificates().unwrap().len(), 1);
        let sent = bytes(5_000_000);
        let length = sent.len();
        let serving = tokio::spawn(async move {
            let mut got = vec![0; length];
            server.read_exact(&mut got).await.unwrap();
            got
        });
        let mut rest = sent.as_slice();
        for (step, length) in [1, 16_384, 70_000, 131_072, 131_073, 2_000_000]
            .into_iter()
            .cycle()
            .enumerate()
        {
            if rest.is_empty() {
                break;
            }
            let (head, body) = rest.split_at((step % 300).min(rest.len()));
            let body = &body[..length.min(body.len())];
            let pieces = [IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(body)];
            let taken = client.write_vectored(&pieces).await.unwrap();
            assert!(taken > 0 && taken <= head.len() + body.len());
            rest = &rest[taken..];
        }
        client.flush().await.unwrap();
        assert!(serving.await.unwrap() == sent);
    }
}

/// Nobody takes what is sent; the other side has said why, and has gone.
#[tokio::test]
async fn what_came_is_heard_where_nothing_can_be_sent_any_more() {
    let sides = sides(&rustls::version::TLS13);
    let (mut client, mut server) = pair(&sides).await;
    let piece = bytes(100_000);
    // Until nothing more goes.
    let mut sent = 0;
    while let Ok(count) = tokio::time::timeout(
        Duration::from_millis(200),
        std::future::poll_fn(|context| Pin::new(&mut client).poll_write(context, &piece)),
    )
    .await
    {
        sent += count.unwrap();
    }
    assert!(sent > 0);
    server.write_all(b"no room").await.unwrap();
    server.flush().await.unwrap();
    // What was not read makes a reset of it.
    drop(server);
    // Until that is known.
    tokio::task::yield_now().await;
    let mut got = [0; 7];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"no room");
    assert!(client.read(&mut got).await.is_err());
}

#[tokio::test]
async fn keys_may_change_in_between() {
    let sides = sides(&rustls::version::TLS13);
    let (mut client, mut server) = pair(&sides).await;
    let sent = bytes(400_000);
    let copy = sent.clone();
    let serving = tokio::spawn(async move {
        for piece in copy.chunks(50_000) {
            server.write_all(piece).await.unwrap();
            // Asks the other side to change its keys, too.
            server.get_mut().1.refresh_traffic_keys().unwrap();
            server.flush().await.unwrap();
        }
        let mut answer = [0; 200_000];
        server.read_exact(&mut answer).await.unwrap();
        answer.to_vec()
    });
    let mut got = vec![0; sent.len()];
    client.read_exact(&mut got).await.unwrap();
    assert!(got == sent);
    client.write_all(&sent[..200_000]).await.unwrap();
    client.flush().await.unwrap();
    assert!(serving.await.unwrap() == sent[..200_000]);
}

#[tokio::test]
async fn an_end_that_tls_has_not_said_is_no_end() {
    let sides = sides(&rustls::version::TLS13);
    let (mut client, mut server) = pair(&sides).await;
    server.write_all(b"half").await.unwrap();
    server.flush().await.unwrap();
    server.get_mut().0.shutdown().await.unwrap();
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(got, b"half");
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_refused() {
    for garbage in [
        // A record of application data that nobody encrypted, and one that is too long.
        [&[23, 3, 3, 0, 50][..], &[7; 50]].concat(),
        [&[23, 3, 3, 0xff, 0xff][..], &[7; 70_000]].concat(),
        vec![b'H'; 100],
    ] {
        let sides = sides(&rustls::version::TLS13);
        let (mut client, mut server) = pair(&sides).await;
        server.write_all(b"good").await.unwrap();
        server.flush().await.unwrap();
        let mut got = [0; 4];
        client.read_exact(&mut got).await.unwrap();
        server.get_mut().0.write_all(&garbage).await.unwrap();
        let error = client.read(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        // Nothing is made of the same bytes again.
        assert!(client.read(&mut got).await.is_err());
        client.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn who_is_not_known_is_not_spoken_to() {
    let (known, other) = (
        sides(&rustls::version::TLS13),
        sides(&rustls::version::TLS13),
    );
    for (server, name) in [(&other, "localhost"), (&known, "elsewhere")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let acceptor = TlsAcceptor::from(Arc::clone(&server.server));
        let serving = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        let name = ServerName::try_from(name).unwrap();
        let connecting = TlsStream::connect(tcp.unwrap(), Arc::clone(&known.client), name);
        let (connected, served) = tokio::join!(
            async move { connecting.await.err().map(|error| error.kind()) },
            serving
        );
        assert_eq!(connected, Some(io::ErrorKind::InvalidData));
        // In TLS 1.3 the server is done only when the client is.
        assert!(served.is_err());
    }
}

/// A server that gives every connection these answers, one for each request.
async fn serve(sides: &Sides, answers: Vec<Vec<u8>>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::clone(&sides.server));
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, answers) = (acceptor.clone(), answers.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    return;
                };
                for answer in answers {
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        match tls.read_u8().await {
                            Ok(byte) => asked.push(byte),
                            Err(_) => return,
                        }
                    }
                    if tls.write_all(&answer).await.is_err() {
                        return;
                    }
                    let _ = tls.flush().await;
                }
                let _ = tls.shutdown().await;
            });
        }
    });
    (format!("https://localhost:{port}"), task)
}

fn partial(said: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {said}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn read(endpoint: &str, sides: &Sides, length: usize) -> Result<Vec<u8>, ClientError> {
    let trust = Trust::Authority(sides.pem.clone().into_bytes());
    let client = Client::with_token(endpoint, "token", &trust).unwrap();
    let snapshot = uuid::Uuid::nil();
    let answer = client.read("vm", snapshot, "disk", 0, length as u64);
    Ok(answer.await?.bytes().await?.to_vec())
}

#[tokio::test]
async fn answers_are_read_as_http_says() {
    let sides = sides(&rustls::version::TLS13);
    let disk = bytes(1_234_567);
    let (endpoint, task) = serve(&sides, vec![partial(disk.len(), &disk)]).await;
    assert!(read(&endpoint, &sides, disk.len()).await.unwrap() == disk);
    // A whole disk where a part was asked for, and a part that is another.
    let error = read(&endpoint, &sides, 5).await.unwrap_err();
    assert!(matches!(error, ClientError::Short { .. }), "{error}");
    task.abort();

    // An answer that ends early.
    let (endpoint, task) = serve(&sides, vec![partial(disk.len(), &disk[..99_999])]).await;
    let error = read(&endpoint, &sides, disk.len()).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport(_)), "{error}");
    assert!(error.is_transient(), "{error}");
    task.abort();

    let refusal = br#"{"error": "Conflict", "details": "not what was sealed"}"#;
    let head = format!(
        "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n",
        refusal.len()
    );
    let (endpoint, task) = serve(&sides, vec![[head.as_bytes(), refusal].concat()]).await;
    let error = read(&endpoint, &sides, 10).await.unwrap_err();
    assert_eq!(error.to_string(), "409 Conflict: not what was sealed");
    task.abort();

    // Nobody is sent elsewhere.
    let moved =
        b"HTTP/1.1 302 Found\r\nlocation: https://localhost:1/\r\ncontent-length: 0\r\n\r\n";
    let (endpoint, task) = serve(&sides, vec![moved.to_vec()]).await;
    let error = read(&endpoint, &sides, 10).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(302));
    task.abort();

    // Not HTTP at all, and headers without end.
    let endless = [&b"HTTP/1.1 206 Partial Content\r\n"[..], &[b'x'; 1 << 20]].concat();
    for nonsense in [b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), endless] {
        let (endpoint, task) = serve(&sides, vec![nonsense]).await;
        let error = read(&endpoint, &sides, 10).await.unwrap_err();
        assert!(matches!(error, ClientError::Unanswered(_)), "{error}");
        task.abort();
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let sides = sides(&rustls::version::TLS13);
    let answers = (1..=3).map(|at| partial(at, &bytes(at))).collect();
    let (endpoint, task) = serve(&sides, answers).await;
    // This one by itself, without the general client behind it.
    let wire = Wire::to(&endpoint, Arc::clone(&sides.client)).unwrap();
    for at in 1..=3 {
        let url = format!("{endpoint}/disk").parse().unwrap();
        let request = reqwest::Request::new(reqwest::Method::GET, url);
        let answer = wire.send(request).await.unwrap().unwrap();
        assert_eq!(answer.url().path(), "/disk");
        assert_eq!(answer.bytes().await.unwrap(), bytes(at));
    }
    task.abort();
}

#[tokio::test]
async fn nothing_is_waited_for_over_a_connection_that_has_ended() {
    let sides = sides(&rustls::version::TLS13);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let acceptor = TlsAcceptor::from(Arc::clone(&sides.server));
    let serving = async {
        let tcp = listener.accept().await.unwrap().0;
        let mut tls = acceptor.accept(tcp).await.unwrap();
        tls.write_all(&partial(1, b"x")).await.unwrap();
        tls
    };
    let wire = Wire::to(&endpoint, Arc::clone(&sides.client)).unwrap();
    let mut request = http::Request::get(&endpoint)
        .body(reqwest::Body::default())
        .unwrap();
    let connection = capture_connection(&mut request);
    let (answer, node) = tokio::join!(wire.http.request(request), serving);
    assert_eq!(answer.unwrap().status(), 206);

    // In place of a request that was lost on its way to the connection.
    let grace = Duration::from_millis(100);
    let lost = unless_ended(grace, std::future::pending::<()>(), connection);
    tokio::pin!(lost);
    let patient = tokio::time::timeout(3 * grace, &mut lost).await;
    assert!(
        patient.is_err(),
        "an answer may come for as long as the connection is there"
    );
    drop(node);
    assert_eq!(lost.await, None);
}

/// The connection has given the request back, and the next one takes its time.
#[tokio::test]
async fn a_request_that_is_sent_again_is_waited_for() {
    let sides = sides(&rustls::version::TLS13);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let acceptor = TlsAcceptor::from(Arc::clone(&sides.server));
    let wire = Wire::to(&endpoint, Arc::clone(&sides.client)).unwrap();
    let request = || {
        let request = http::Request::get(&endpoint).body(reqwest::Body::default());
        let mut request = request.unwrap();
        let connection = capture_connection(&mut request);
        (request, connection)
    };
    let serving = async |delay| {
        let tcp = listener.accept().await.unwrap().0;
        tokio::time::sleep(delay).await;
        let mut tls = acceptor.accept(tcp).await.unwrap();
        tls.write_all(&partial(1, b"x")).await.unwrap();
        tls.flush().await.unwrap();
        tls
    };
    let (first, _) = request();
    let (answer, node) = tokio::join!(wire.http.request(first), serving(Duration::ZERO));
    let answer = answer.unwrap().map(reqwest::Body::wrap);
    assert_eq!(reqwest::Response::from(answer).bytes().await.unwrap(), "x");
    // Until the connection waits for the next request.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    // It ends; its end is known to the kernel, and not to the task that has it.
    drop(node);
    tokio::task::yield_now().await;
    let (again, connection) = request();
    let seen = connection.clone();
    let slow = async {
        let node = serving(Duration::from_secs(3)).await;
        assert!(
            seen.connection_metadata().is_some(),
            "it was not sent over the first connection"
        );
        node
    };
    let answer = unless_ended(GRACE, wire.http.request(again), connection);
    let (answer, _node) = tokio::join!(answer, slow);
    assert_eq!(answer.unwrap().unwrap().status(), 206);
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_named() {
    let (known, other) = (
        sides(&rustls::version::TLS13),
        sides(&rustls::version::TLS13),
    );
    let (endpoint, task) = serve(&other, vec![partial(1, b"x")]).await;
    let error = read(&endpoint, &known, 1).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(error.is_untrusted(), "{error}");
    // Unless none is looked at.
    let client = Client::with_token(&endpoint, "token", &Trust::Anything).unwrap();
    let answer = client.read("vm", uuid::Uuid::nil(), "disk", 0, 1);
    assert_eq!(answer.await.unwrap().bytes().await.unwrap(), "x");
    task.abort();
}

#[tokio::test]
async fn a_delta_that_never_goes_on_is_given_up() {
    let sides = sides(&rustls::version::TLS13);
    let (mut client, _server) = pair(&sides).await;
    let waited = tokio::time::timeout(Duration::from_millis(50), client.read(&mut [0; 1])).await;
    assert!(waited.is_err(), "nothing came");
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n";
    let (endpoint, task) = serve(&sides, vec![head.to_vec()]).await;
    let trust = Trust::Authority(sides.pem.clone().into_bytes());
    let client = Client::with_token(&endpoint, "token", &trust).unwrap();
    let disk = DiskOf {
        vm: "vm",
        snapshot: uuid::Uuid::nil(),
        disk: "disk",
    };
    let whole = Comparison::default();
    let delta = client.delta(&disk, &whole, 0, Compression::None);
    // The length of a chunk that no number holds.
    assert!(matches!(
        delta.await,
        Err(ClientError::Unanswered(_) | ClientError::Transport(_))
    ));
    task.abort();
}

#[test]
fn what_is_behind_a_proxy_is_left_to_the_general_client() {
    use hyper_util::client::proxy::matcher::Matcher;
    let node = "https://node.example:5544".parse().unwrap();
    let matcher = |all: &str, https: &str, no: &str| {
        let builder = Matcher::builder()
            .all(all.to_owned())
            .https(https.to_owned());
        builder.no(no.to_owned()).build()
    };
    assert!(!passes_a_proxy(&matcher("", "", ""), &node));
    assert!(passes_a_proxy(&matcher("", "http://proxy:3128", ""), &node));
    assert!(passes_a_proxy(&matcher("http://proxy:3128", "", ""), &node));
    assert!(!passes_a_proxy(
        &matcher("", "http://proxy:3128", "node.example"),
        &node
    ));
    let tls = sides(&rustls::version::TLS13).client;
    assert!(Wire::to("http://node.example", Arc::clone(&tls)).is_none());
    assert!(Wire::to("no address", tls).is_none());
}
