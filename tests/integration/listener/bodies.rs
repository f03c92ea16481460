//! Headers and bodies that are too much: the client gets its answer, not a reset.

use std::time::{Duration, Instant};

use super::fixture::{LIMITS, Server, eventually, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_too_large_are_answered_with_431() {
    let server = Server::start(LIMITS).await;
    let mut client = server.client().await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(100 * 1024)
    );
    client.send(request).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 431);
    client.closed().await;

    let mut client = server.client().await;
    let fits = "x".repeat(20 * 1024);
    client
        .send(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {fits}\r\n\r\n"))
        .await
        .unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_announced_as_300_mb_is_answered_while_it_is_sent() {
    let server = Server::start(LIMITS).await;
    let mut client = server.client().await;
    client
        .send("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n")
        .await
        .unwrap();
    // A client that sends before it reads, as most do.
    let block = vec![b' '; 64 * 1024];
    for _ in 0..32 {
        client.send(&block).await.unwrap();
    }
    assert_eq!(client.answer().await.unwrap().status, 413);
    within(async { while client.send(&block).await.is_ok() {} }).await;
    eventually("it is gone", || server.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let server = Server::start(LIMITS).await;
    let mut client = server.client().await;
    client
        .send("POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("200\r\n{}\r\n", " ".repeat(512));
    for _ in 0..20 {
        client.send(&chunk).await.unwrap();
    }
    assert_eq!(client.answer().await.unwrap().status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_in_is_answered_with_408() {
    let server = Server::start(LIMITS).await;
    let mut client = server.client().await;
    let began = Instant::now();
    client
        .send("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        .await
        .unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if client.send(" ").await.is_err() {
            break;
        }
    }
    assert_eq!(client.answer().await.unwrap().status, 408);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_body_is_taken_and_the_connection_goes_on() {
    let server = Server::start(LIMITS).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        client
            .send("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
            .await
            .unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"a\":1}"));
    }
    assert_eq!(server.registry.counts().accepted, 1);
}
