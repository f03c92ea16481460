//! Hostile peers by the hundred beside a good client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::config::Limits;
use tokio::io::AsyncWriteExt as _;

use super::fixture::{Client, LIMITS, Server, eventually};

/// Descriptors at both ends are of this process: with a margin within the usual 1024.
const HOSTILE: usize = 400;

const MAX_CONNECTIONS: usize = 64;

/// One hostile connection after the other: silent, half a handshake, half a header, half a body.
async fn attack(server: Arc<Server>, kind: usize, done: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    while !done.load(Ordering::Relaxed) {
        let Ok(mut tcp) = tokio::net::TcpStream::connect(server.address).await else {
            continue;
        };
        let made_one = || made.fetch_add(1, Ordering::Relaxed);
        if kind % 4 < 2 {
            if kind % 4 == 1 {
                let _ = tcp.write_all(&[0x16, 3, 1, 2, 0]).await;
            }
            made_one();
            hold(&done, async {
                while !is_closed(&tcp) {
                    pause().await
                }
            })
            .await;
            continue;
        }
        let Ok(mut client) = Client::new(&server.connector, tcp).await else {
            continue;
        };
        let part = if kind % 4 == 2 {
            "GET / HTTP/1.1\r\nX: "
        } else {
            "POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"
        };
        made_one();
        hold(&done, async {
            while client.send(part).await.is_ok() {
                pause().await;
            }
        })
        .await;
    }
}

fn is_closed(tcp: &tokio::net::TcpStream) -> bool {
    let mut byte = [0];
    !matches!(tcp.try_read(&mut byte), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn hold(done: &AtomicBool, work: impl Future<Output = ()>) {
    let over = async {
        while !done.load(Ordering::Relaxed) {
            pause().await;
        }
    };
    tokio::select! { () = work => {}, () = over => {} }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_client_is_served_among_hundreds_of_hostile_ones() {
    let server = Server::start(Limits {
        max_connections: MAX_CONNECTIONS,
        ..LIMITS
    })
    .await;
    let server = Arc::new(server);
    let (done, made) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let hostile: Vec<_> = (0..HOSTILE)
        .map(|kind| {
            let (server, done, made) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&made));
            tokio::spawn(attack(server, kind, done, made))
        })
        .collect();
    eventually("the flood is there", || {
        made.load(Ordering::Relaxed) > HOSTILE
    })
    .await;

    let mut keeps_its_connection = loop {
        if let Ok(mut client) = Client::new(&server.connector, server.tcp().await).await
            && client.get("/login").await.is_ok()
        {
            break client;
        }
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        let answer = keeps_its_connection.get("/").await;
        assert_eq!(answer.expect("an authenticated client stays").status, 200);
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(server.open() <= MAX_CONNECTIONS);
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    done.store(true, Ordering::Relaxed);
    for task in hostile {
        task.await.unwrap();
    }
    drop(keeps_its_connection);
    eventually("all are gone", || server.open() == 0).await;
    println!(
        "{} hostile connections, {:?}, slowest answer {slowest:?}",
        made.load(Ordering::Relaxed),
        server.registry.counts()
    );
}
