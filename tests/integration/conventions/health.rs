//! Health, ids in errors, the document over the wire.

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Answer, Api, text};
use crate::support::frozen::Frozen;
use crate::support::node::{Kind, TestNode};
use crate::support::wait::{until, until_told};
use crate::support::wire::Dialler;

async fn ask(node: &TestNode, path: &str) -> Answer {
    let mut wire = Dialler::of(node).open().await.unwrap();
    wire.ask("GET", path, "").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_everybody_without_detail() {
    let node = TestNode::new(&[]).await;
    for path in [
        "/health/live",
        "/health/live/",
        "/health/ready",
        "/health/ready/",
    ] {
        let answer = ask(&node, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json(), json!({"status": "ok"}), "{path}");
        let mut wire = Dialler::of(&node).open().await.unwrap();
        let head = wire.ask("HEAD", path, "").await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(
            head.header("content-length"),
            answer.body.len().to_string(),
            "{path}"
        );
        let post = wire.ask("POST", path, "").await.unwrap();
        assert_eq!(post.error(405).0, "Method Not Allowed");
        let mut allow: Vec<&str> = post.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow, ["GET", "HEAD"], "{path}");
    }
}

/// A connection that is open when the daemon begins to stop, and is in use: the only one on which
/// anybody can still ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stops_is_alive_and_not_ready() {
    let mut node = TestNode::new(&[]).await;
    let mut wire = Dialler::of(&node).open().await.unwrap();
    // A request that has begun when the signal comes is answered.
    wire.send("GET /health/rea").await.unwrap();
    let mut other = Dialler::of(&node).open().await.unwrap();
    other.send("GET /health/li").await.unwrap();
    let daemon = node.take_daemon();
    // Both have come before the signal.
    let mut third = Dialler::at(&node, daemon.address()).open().await.unwrap();
    assert_eq!(
        third.ask("GET", "/health/ready", "").await.unwrap().status,
        200
    );
    daemon.terminate().unwrap();
    until("it finishes requests", || {
        node.log().contains("SIGTERM: finishing requests")
    });
    wire.send("dy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = wire.answer(false).await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"status": "unavailable"}));
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!(seconds > 0);
    other.send("ve HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(other.answer(false).await.unwrap().status, 200);
}

/// What a killed daemon has left lies on storage that hangs, and elsewhere: after 10 s the daemon serves
/// and is ready, and only the one repository waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_hangs_at_the_start_keeps_nothing_else_waiting() {
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], "").await;
    let left = [0, 1].map(|at: usize| {
        let root = node.repositories[at].path();
        root.join("CoriolisSnapshots/.unfinished-7b0a1f5e-56a5-4c4a-9f5c-2f0c6f0f9f3a")
    });
    for left in &left {
        fs::create_dir_all(left).unwrap();
    }
    let ids = [0, 1].map(|at: usize| node.repositories[at].id.clone());
    let frozen = Frozen::new(&node.repositories[0].path());
    node.start();
    for path in ["/health/live", "/health/ready"] {
        let answer = ask(&node, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json(), json!({"status": "ok"}), "{path}");
    }
    assert!(!left[1].exists(), "the other one is tended");
    let late = format!(
        "recovery in repository {} has not ended within 10 s",
        ids[0]
    );
    until("it is named in the log", || node.log().contains(&late));
    assert_eq!(node.log().matches("has not ended within").count(), 1);
    let api = Api::of(&node).await;
    let hangs = async |at: usize| {
        let token = format!("Authorization: Bearer {}\r\n", api.token);
        let mut wire = Dialler::of(&node).open().await.unwrap();
        let figures = wire.ask("GET", "/metrics", &token).await.unwrap();
        let text = String::from_utf8(figures.body.to_vec()).unwrap();
        let name = format!(
            "ovm_exporter_repository_hangs{{repository=\"{}\"}} ",
            ids[at]
        );
        let (_, value) = text
            .split_once(&name)
            .unwrap_or_else(|| panic!("{name}: {text}"));
        value.lines().next().unwrap() == "1"
    };
    assert!(hangs(0).await && !hangs(1).await);
    let machine = node.machine(1, 1, &[4096]);
    api.snapshot(&machine.id).await;

    drop(frozen);
    until("it is tended too", || !left[0].exists());
    until_told("it is known", async || !hangs(0).await).await;
    assert!(node.log().contains("has ended after"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_its_line_in_the_log() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    for (method, path, status) in [
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/vms/none", 404),
        (Method::PUT, "/vms", 405),
    ] {
        let answer = api.send(method, path, &[]).await;
        answer.error(status);
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(text(&answer.json()["request_id"]), id, "{path}");
        until("it is in the log", || node.log().contains(&id));
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
    }
    let refused = api
        .send(Method::GET, "/vms", &[("authorization", "x")])
        .await;
    assert_eq!(
        text(&refused.json()["request_id"]),
        refused.header("x-request-id")
    );
    // A HEAD has the length of the GET.
    let (get, head) = (api.get("/vms/none").await, api.head("/vms/none").await);
    assert_eq!(get.header("content-length"), head.header("content-length"));
    assert!(head.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_as_it_is_checked_in() {
    let node = TestNode::new(&[]).await;
    let answer = ask(&node, "/api/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let checked_in: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    assert_eq!(answer.json(), checked_in);
}
