//! The signal to stop: what is in flight finishes, what is idle goes, the rest is cut off.

use std::time::{Duration, Instant};

use coriolis_ovm_exporter::config::Limits;
use coriolis_ovm_exporter::server::listener::{ListenError, Listener, Stopped};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::fixture::{LIMITS, Server, eventually, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_flight_finishes_and_idle_connections_go_at_once() {
    let server = Server::start(LIMITS).await;
    let address = server.address;
    let mut idle = server.client().await;
    idle.get("/").await.unwrap();
    let mut fresh = server.client().await;
    let mut handshaking = server.tcp().await;
    let mut busy = server.client().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    busy.head().await.unwrap();
    eventually("all are in", || server.open() == 4).await;

    let began = Instant::now();
    let stopped = server.stop();
    idle.closed().await;
    fresh.closed().await;
    assert_eq!(within(handshaking.read(&mut [0; 10])).await.unwrap_or(0), 0);
    assert!(!stopped.is_finished(), "the body takes half a second");
    let refused = TcpStream::connect(address).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );

    let mut body = String::new();
    within(busy.stream.read_to_string(&mut body)).await.unwrap();
    for line in 0..10 {
        assert!(body.contains(&format!("line {line}\n")), "{body}");
    }
    assert!(
        body.ends_with("0\r\n\r\n"),
        "the end of the last chunk: {body}"
    );
    assert_eq!(within(stopped).await.unwrap(), Stopped { cut_off: 0 });
    // Both idle ones are still open at our end: nobody waits for them.
    assert!(
        began.elapsed() < Duration::from_millis(950),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_end_is_cut_off_when_its_time_is_up() {
    let grace = Duration::from_millis(300);
    let server = Server::start(Limits {
        shutdown_grace: grace,
        ..LIMITS
    })
    .await;
    let registry = server.registry.clone();
    let mut endless = server.client().await;
    endless
        .send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    endless.head().await.unwrap();
    let reader = tokio::spawn(async move { endless.closed().await });
    let began = Instant::now();
    assert_eq!(within(server.stop()).await.unwrap(), Stopped { cut_off: 1 });
    assert!(began.elapsed() >= grace);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(registry.counts().open, 0);
    within(reader).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_is_free_again_at_once_and_never_shared() {
    let server = Server::start(LIMITS).await;
    let address = server.address;
    let mut client = server.client().await;
    client.get("/").await.unwrap();
    let taken = Listener::bind(address, LIMITS);
    let Err(ListenError::Bind { source, .. }) = taken else {
        panic!("two daemons on one port");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    within(server.stop()).await.unwrap();
    Listener::bind(address, LIMITS).unwrap();
}
