//! `GET /api/v1/events`, as curl sees it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::wait::until_told;
use crate::support::wire::Dialler;

const PATIENCE: Duration = Duration::from_secs(30);

/// curl, and what it prints.
struct Curl {
    child: Child,
    lines: Receiver<String>,
}

impl Curl {
    fn watch(node: &TestNode, api: &Api) -> Curl {
        let authority = node.path("authority.pem");
        std::fs::write(&authority, &node.authority).unwrap();
        let mut child = Command::new("curl")
            .args(["--silent", "--no-buffer", "--cacert"])
            .arg(authority)
            .args(["--header", &format!("Authorization: Bearer {}", api.token)])
            .arg(format!("{}/api/v1/events", node.endpoint()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl cannot be started: install the package curl");
        let lines = read(child.stdout.take().unwrap());
        Curl { child, lines }
    }

    /// The next event: its name and what it says.
    fn next(&self) -> (String, Value) {
        let (mut name, mut data) = (String::new(), Value::Null);
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("an event");
            if let Some(rest) = line.strip_prefix("event: ") {
                name = rest.to_owned();
            } else if let Some(rest) = line.strip_prefix("data: ") {
                data = serde_json::from_str(rest).unwrap();
            } else if line.is_empty() && !name.is_empty() {
                return (name, data);
            } else {
                assert!(line.is_empty() || line.starts_with(':'), "{line}");
            }
        }
    }

    /// The next one of this name and kind of operation.
    fn next_of(&self, name: &str, kind: &str) -> Value {
        loop {
            let (event, data) = self.next();
            if event == name && data["kind"] == kind {
                return data;
            }
        }
    }
}

fn read(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sees_snapshots_streams_and_deletes_come_and_go() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[64 << 20]);
    let api = Api::of(&node).await;
    let curl = Curl::watch(&node, &api);
    assert_eq!(curl.next(), ("current".to_owned(), 0.into()));

    let snapshot = api.snapshot(&vm.id).await;
    let id = text(&snapshot["id"]).to_owned();
    let ended = curl.next_of("ended", "snapshot");
    assert_eq!(ended["outcome"], "done");
    assert_eq!(ended["vm_id"], vm.id.as_str());

    // A stream that its client takes slowly, so that it is seen on its way.
    let name = text(&snapshot["disks"][0]["name"]);
    let path = format!("/vms/{}/snapshots/{id}/disks/{name}", vm.id);
    let mut wire = Dialler::of(&node).open().await.unwrap();
    wire.send(format!(
        "GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        api.token
    ))
    .await
    .unwrap();
    let running = curl.next_of("running", "disk");
    assert_eq!(running["snapshot_id"], id.as_str());
    assert_eq!(running["disk"], name);
    assert_eq!(running["bytes_total"], 64 << 20);
    assert_eq!(running["outcome"], Value::Null);
    // Who comes now is told of it first.
    let late = Curl::watch(&node, &api);
    let (event, told) = late.next();
    assert_eq!((event.as_str(), &told["id"]), ("running", &running["id"]));
    assert_eq!(late.next(), ("current".to_owned(), 1.into()));
    drop(late);
    let answer = wire.answer(false).await.unwrap();
    assert_eq!(answer.body.len(), 64 << 20);
    let ended = curl.next_of("ended", "disk");
    assert_eq!(ended["bytes_sent"], 64 << 20);
    assert_eq!(ended["outcome"], "done");

    // One that its client gives up.
    let mut wire = Dialler::of(&node).open().await.unwrap();
    wire.send(format!(
        "GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        api.token
    ))
    .await
    .unwrap();
    curl.next_of("running", "disk");
    drop(wire);
    let ended = curl.next_of("ended", "disk");
    assert_eq!(ended["outcome"], "left");
    assert!(ended["bytes_sent"].as_u64().unwrap() < 64 << 20);

    assert_eq!(api.get(&format!("{path}/delta")).await.status, 200);
    assert_eq!(curl.next_of("ended", "delta")["outcome"], "done");
    // A HEAD sends nothing.
    assert_eq!(api.head(&path).await.status, 200);
    let gone = api.delete(&format!("/vms/{}/snapshots/{id}", vm.id)).await;
    assert_eq!(gone.status, 200);
    let (event, data) = curl.next();
    assert!(["running", "ended"].contains(&event.as_str()), "{event}");
    assert_eq!(data["kind"], "delete");
    if event == "running" {
        assert_eq!(curl.next_of("ended", "delete")["outcome"], "done");
    }

    // Stopping does not wait for those who watch.
    let mut daemon = node.take_daemon();
    daemon.terminate().unwrap();
    assert!(daemon.wait().unwrap().success());
    let log = node.log();
    assert!(log.contains("cut_off=0"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_look_ends_by_itself_and_places_are_bounded() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    let look = api.get("/events?follow=false").await;
    assert_eq!(look.status, 200);
    assert_eq!(look.header("content-type"), "text/event-stream");
    assert_eq!(look.body, "event: current\ndata: 0\n\n");
    assert_eq!(api.head("/events").await.status, 200);
    assert_eq!(
        api.get("/events?follow=perhaps").await.error(400).0,
        "Bad Request"
    );
    let headers = [("authorization", "Bearer x")];
    api.send(Method::GET, "/events", &headers).await.error(401);

    let mut watchers = Vec::new();
    let refused = loop {
        let http = node.http();
        let url = format!("{}/api/v1/events", node.endpoint());
        let answer = http.get(url).bearer_auth(&api.token).send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
        watchers.push(answer);
        assert!(watchers.len() < 100, "no end of them");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(watchers.len() >= 4, "{}", watchers.len());
    // A look takes no place.
    assert_eq!(api.get("/events?follow=false").await.status, 200);
    drop(watchers);
    until_told("places are given back", async || {
        let url = format!("{}/api/v1/events", node.endpoint());
        let again = node.http().get(url).bearer_auth(&api.token).send().await;
        again.unwrap().status() == 200
    })
    .await;
}
