//! What clients may use up. More of this, with other limits: `listener`.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::api::Api;
use crate::support::node::{Kind, PASSWORD, TestNode, USER};
use crate::support::wire::{DEADLINE, Dialler, within};

fn descriptors(node: &TestNode) -> usize {
    let folder = format!("/proc/{}/fd", node.daemon_id());
    fs::read_dir(folder).unwrap().count()
}

/// The most memory that the daemon has ever used, in KiB.
fn peak_memory(node: &TestNode) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.daemon_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// First generation: 600 bad logins, 600 descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn each_login_leaks_a_connection() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    let asked = node.manager.requests();
    let mut statuses = Vec::new();
    for _ in 0..600 {
        let answer = api.login(USER, "wrong").await;
        if answer.status == 429 {
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=30).contains(&seconds));
            assert_eq!(answer.error(429).0, "Too Many Requests");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..5], [401; 5], "the free ones");
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed > 580, "{slowed} of 600 were slowed down");
    assert!(
        node.manager.requests() - asked < 20,
        "the manager is spared"
    );
    // Also those that go through to the manager.
    let node = TestNode::with_config(&[], "[api.login]\nmax_failures = 100000\n").await;
    let unslowed = Api::of(&node).await;
    let at_rest = descriptors(&node);
    for _ in 0..100 {
        assert_eq!(unslowed.login(USER, "wrong").await.status, 401);
        assert_eq!(unslowed.login(USER, PASSWORD).await.status, 200);
    }
    eventually("descriptors are where they were", || {
        descriptors(&node) <= at_rest + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_logins_on_connections_of_their_own_leave_no_descriptor() {
    let node = TestNode::new(&[]).await;
    let dialler = Dialler::of(&node);
    let before = descriptors(&node);
    let body = format!(r#"{{"username":"{USER}","password":"wrong"}}"#);
    for _ in 0..600 {
        let mut wire = dialler.open().await.unwrap();
        let request = format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.send(request).await.unwrap();
        let answer = within(wire.answer(false)).await.unwrap();
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
    eventually("descriptors are where they were", || {
        descriptors(&node) <= before
    })
    .await;
}

/// First generation: 1.96 GB of memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_body_of_300_mb_is_taken_into_memory() {
    const BODY: usize = 300 << 20;
    let node = TestNode::new(&[]).await;
    let block = vec![b' '; 1 << 20];
    for framing in [
        format!("Content-Length: {BODY}"),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        let (before, after) = match framing.starts_with('T') {
            true => ("100000\r\n", "\r\n"),
            false => ("", ""),
        };
        let stream = Dialler::of(&node).open().await.unwrap().stream;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let sending = async {
            let head = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
            writing.write_all(head.as_bytes()).await?;
            for _ in 0..BODY >> 20 {
                writing.write_all(before.as_bytes()).await?;
                writing.write_all(&block).await?;
                writing.write_all(after.as_bytes()).await?;
            }
            writing.flush().await
        };
        let answered = async {
            let mut answer = Vec::new();
            // The daemon need not listen to the end of it.
            let _ = reading.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        };
        let (sent, answer) = within(async { tokio::join!(sending, answered) }).await;
        println!("{framing}: sent {sent:?}, {answer}");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    // A client that sends little by little hears of it at once.
    let mut wire = Dialler::of(&node).open().await.unwrap();
    wire.send(format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n{{"
    ))
    .await
    .unwrap();
    let answer = within(wire.answer(false)).await.unwrap();
    assert_eq!(answer.error(413).0, "Payload Too Large");
    let peak = peak_memory(&node);
    println!("at most {peak} KiB");
    assert!(peak < 64 << 10, "{peak} KiB");
    Api::of(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_never_closed() {
    let config = "[api.limits]\nidle_timeout = \"300ms\"\nhandshake_timeout = \"300ms\"\n\
                  header_timeout = \"1h\"\n";
    let node = TestNode::with_config(&[], config).await;
    let dialler = Dialler::of(&node);
    let before = descriptors(&node);
    let mut used = dialler.open().await.unwrap();
    assert_eq!(
        used.ask("GET", "/api/v1/vms", "").await.unwrap().status,
        401
    );
    let mut without_tls = dialler.tcp().await.unwrap();
    within(used.drain()).await;
    let mut byte = [0];
    let read = within(without_tls.read(&mut byte)).await;
    assert_eq!(read.unwrap_or(0), 0);
    eventually("descriptors are where they were", || {
        descriptors(&node) <= before
    })
    .await;
}

/// First generation: 300 unauthenticated logins at `ulimit -n 256` kill the service.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_connections_at_256_descriptors_kill_the_service() {
    // More connections are allowed than there are descriptors.
    let config = "[api.limits]\nmax_connections = 1000\n";
    let node = TestNode::with_config(&[Kind::Xfs], config).await;
    let vm = node.machine(0, 1, &[1 << 20]);
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", node.daemon_id()))
        .arg("--nofile=256:256")
        .status()
        .expect("prlimit cannot be started: install the package util-linux");
    assert!(status.success());
    let dialler = Dialler::of(&node);
    let mut held = Vec::new();
    let body = format!(r#"{{"username":"{USER}","password":"wrong"}}"#);
    for at in 0..300 {
        let (dialler, body) = (dialler.clone(), body.clone());
        held.push(tokio::spawn(async move {
            // Held open, each in another state: a socket alone, a session, a login half sent, a
            // login.
            if at % 4 == 0 {
                return (dialler.tcp().await.ok(), None);
            }
            let Ok(mut wire) = dialler.open().await else {
                return (None, None);
            };
            let length = if at % 4 == 2 { 1000 } else { body.len() };
            let request = format!(
                "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            if at % 4 > 1 {
                let _ = wire.send(request).await;
            }
            (None, Some(wire))
        }));
    }
    let mut open = Vec::new();
    for task in held {
        open.push(task.await.unwrap());
    }
    let taken = descriptors(&node);
    println!("{taken} descriptors");
    assert!(taken < 240, "{taken}: none are left to work with");
    // The bad logins have slowed this address down: a good client waits as it is told to.
    let begun = Instant::now();
    let http = node.http();
    let login = format!("{}/api/v1/auth/login", node.endpoint());
    let token = loop {
        assert!(begun.elapsed() < Duration::from_secs(45), "no login");
        let body = serde_json::json!({"username": USER, "password": PASSWORD});
        let answer = http.post(&login).json(&body).send().await.unwrap();
        match answer.status().as_u16() {
            200 => break answer.json::<serde_json::Value>().await.unwrap(),
            429 => tokio::time::sleep(Duration::from_millis(500)).await,
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    };
    let token = token["token"].as_str().unwrap();
    let request = |method: Method, path: &str| {
        let url = format!("{}/api/v1{path}", node.endpoint());
        http.request(method, url).bearer_auth(token).send()
    };
    for _ in 0..20 {
        assert_eq!(request(Method::GET, "/vms").await.unwrap().status(), 200);
    }
    let path = format!("/vms/{}/snapshots", vm.id);
    let taken = request(Method::POST, &path).await.unwrap();
    assert_eq!(taken.status(), 200, "{}", taken.text().await.unwrap());
    println!("{} descriptors in the end", descriptors(&node));
    drop(open);
}
