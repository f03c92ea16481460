//! Peers that are slow, silent or deaf.

use std::time::{Duration, Instant};

use coriolis_ovm_exporter::config::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::fixture::{LIMITS, Server, eventually, within};

const SHORT: Duration = Duration::from_millis(300);

/// Generous: a loaded machine is late, but not by this much.
const LATEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_closed() {
    let server = Server::start(Limits {
        handshake_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let began = Instant::now();
    let mut silent = server.tcp().await;
    let mut trickling = server.tcp().await;
    eventually("both are in", || server.open() == 2).await;
    // The start of a ClientHello, one byte at a time.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let trickle = async {
        for byte in hello.iter().cycle() {
            if trickling.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(trickle).await;
    assert_eq!(within(silent.read(&mut [0; 100])).await.unwrap_or(0), 0);
    eventually("both are gone", || server.open() == 0).await;
    assert!(
        (SHORT..LATEST).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_trickle_in_are_not_waited_for() {
    let server = Server::start(Limits {
        header_timeout: SHORT,
        ..LIMITS
    })
    .await;
    // On a new connection, and as a later request.
    for before in [0, 2] {
        let mut client = server.client().await;
        for _ in 0..before {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        let began = Instant::now();
        let trickle = async {
            client.send("GET / HTTP/1.1\r\nX: ").await?;
            loop {
                client.send("x").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended: std::io::Result<()> = within(trickle).await;
        ended.unwrap_err();
        assert!(
            (SHORT..LATEST).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
    }
    eventually("both are gone", || server.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_never_asks_is_closed() {
    let server = Server::start(Limits {
        header_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.client().await;
    assert!(client.closed().await < LATEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Server::start(Limits {
        idle_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.unwrap().status, 200);
    // 500 ms of answer: longer than a connection may be idle.
    let mut busy = server.client().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let took = idle.closed().await;
    assert!(took < LATEST, "{took:?}");
    let mut body = String::new();
    within(busy.stream.read_to_string(&mut body)).await.unwrap();
    assert!(body.contains("line 9"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_within_the_idle_time_keeps_the_connection() {
    let server = Server::start(Limits {
        idle_timeout: Duration::from_secs(2),
        header_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.client().await;
    // Between requests the idle time counts, not the shorter one for headers.
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
        tokio::time::sleep(SHORT * 2).await;
    }
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_is_dropped() {
    let server = Server::start(Limits {
        stall_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.client_with_small_window().await;
    client
        .send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    client.head().await.unwrap();
    let began = Instant::now();
    eventually("it is dropped", || server.open() == 0).await;
    assert!(
        (SHORT..LATEST).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

/// The kernel calls a socket writable only when a third of its send buffer is free. A slow link
/// needs longer for that than a stall may take, and is no stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_not_dropped() {
    let server = Server::start(Limits {
        stall_timeout: SHORT,
        ..LIMITS
    })
    .await;
    let mut client = server.client_with_small_window().await;
    client
        .send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    client.head().await.unwrap();
    let mut block = vec![0; 16 * 1024];
    let began = Instant::now();
    let mut read = 0;
    while began.elapsed() < SHORT * 8 {
        within(client.stream.read_exact(&mut block)).await.unwrap();
        read += block.len();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(server.open(), 1, "dropped after {read} bytes");
    // The send buffer alone is larger than what was read, so the socket was never writable.
    assert!(read < 4 << 20, "{read} bytes: too fast to prove anything");
}
