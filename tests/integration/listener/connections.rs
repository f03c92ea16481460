//! How many, and who makes room.

use std::time::Duration;

use coriolis_ovm_exporter::config::Limits;
use tokio::io::AsyncReadExt as _;

use super::fixture::{Client, LIMITS, Server, eventually, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_the_longest_idle_unauthenticated_one_goes() {
    let server = Server::start(Limits {
        max_connections: 4,
        ..LIMITS
    })
    .await;
    // The oldest of all, but logged in.
    let mut authenticated = server.client().await;
    let peer = authenticated.get("/login").await.unwrap().body;
    let ours = authenticated.stream.get_ref().0.local_addr().unwrap();
    assert_eq!(peer, ours.to_string());
    let mut handshaking = server.tcp().await;
    eventually("it is in", || server.open() == 2).await;
    let mut oldest = server.client().await;
    assert_eq!(oldest.get("/").await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut younger = server.client().await;
    assert_eq!(younger.get("/").await.unwrap().status, 200);

    let mut newer = server.client().await;
    assert_eq!(newer.get("/").await.unwrap().status, 200);
    assert_eq!(
        within(handshaking.read(&mut [0; 10])).await.unwrap_or(0),
        0,
        "idle since it came"
    );
    let mut newest = server.client().await;
    assert_eq!(newest.get("/").await.unwrap().status, 200);
    oldest.closed().await;

    assert_eq!(server.open(), 4);
    for survivor in [&mut younger, &mut newer, &mut authenticated] {
        assert_eq!(survivor.get("/").await.unwrap().status, 200);
    }
    assert_eq!(server.registry.counts().evicted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_not_closed_to_make_room() {
    let server = Server::start(Limits {
        max_connections: 2,
        ..LIMITS
    })
    .await;
    let mut busy = [server.client().await, server.client().await];
    for client in &mut busy {
        client
            .send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        client.head().await.unwrap();
    }
    let refused = Client::new(&server.connector, server.tcp().await).await;
    assert!(refused.is_err(), "there was no place");
    assert_eq!(server.registry.counts().refused, 1);
    for client in &mut busy {
        let mut body = String::new();
        within(client.stream.read_to_string(&mut body))
            .await
            .unwrap();
        assert!(body.contains("line 9"));
    }
    eventually("both are gone", || server.open() == 0).await;
    server.client().await.get("/").await.unwrap();
}

/// Sockets of this process whose one end is `port`, without the listening one. Other tests may
/// run in this process, so that a bare count of /proc/self/fd would not do.
fn descriptors_of(port: u16) -> usize {
    let end = format!(":{port:04X}");
    let ours: Vec<String> = std::fs::read_to_string("/proc/self/net/tcp")
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|f| f[3] != "0A" && (f[1].ends_with(&end) || f[2].ends_with(&end)))
        .map(|f| format!("socket:[{}]", f[9]))
        .collect();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|link| {
            ours.iter()
                .any(|socket| link.as_os_str() == socket.as_str())
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_connections_leave_no_descriptor() {
    let server = Server::start(LIMITS).await;
    let port = server.address.port();
    let mut clients = Vec::new();
    let mut silent = Vec::new();
    for number in 0..600 {
        if number % 3 == 0 {
            silent.push(server.tcp().await);
            continue;
        }
        let mut client = server.client().await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        clients.push(client);
    }
    eventually("all are in", || server.open() == 600).await;
    assert_eq!(descriptors_of(port), 1200, "both ends are ours");
    // Half say goodbye, half vanish with a request under way.
    for (number, mut client) in clients.into_iter().enumerate() {
        if number % 2 == 0 {
            use tokio::io::AsyncWriteExt as _;
            client.stream.shutdown().await.unwrap();
        } else {
            client
                .send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
        }
    }
    drop(silent);
    eventually("no connection is left", || server.open() == 0).await;
    eventually("no descriptor is left", || descriptors_of(port) == 0).await;
}
