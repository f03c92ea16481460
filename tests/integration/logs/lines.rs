//! What a line says: JSON by choice, and the request that it is of.

use std::fs;

use reqwest::Method;
use serde_json::Value;

use super::super::support::api::{Api, text};
use super::super::support::node::{TestNode, USER};

const ID: [(&str, &str); 1] = [("x-request-id", "orchestrator-7.a_b")];

fn parsed(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_json_object_where_that_is_wanted() {
    let node = TestNode::with_config(&[], "log_format = \"json\"\n").await;
    let api = Api::of(&node).await;
    let refused = api.send(Method::GET, "/vms/no-such", &ID).await;
    refused.error(404);
    let lines = parsed(&node.log());
    for line in &lines {
        for key in ["timestamp", "level", "message"] {
            assert!(!text(&line[key]).is_empty(), "{key}: {line}");
        }
        text(&line["timestamp"]).parse::<jiff::Timestamp>().unwrap();
    }
    let of_request: Vec<_> = lines
        .iter()
        .filter(|line| line["span"]["request_id"] == ID[0].1)
        .collect();
    assert!(
        of_request.len() >= 2,
        "the error, and the answer: {lines:?}"
    );
    for line in of_request {
        assert_eq!(line["span"]["path"], "/api/v1/vms/no-such", "{line}");
    }
    let login = lines.iter().find(|line| line["message"] == "logged in");
    assert_eq!(login.unwrap()["user"], USER);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_request_as_the_log_does() {
    let node = TestNode::new(&[]).await;
    let api = Api::of(&node).await;
    for (method, path) in [
        (Method::GET, "/vms/no-such"),
        (Method::GET, "/nowhere"),
        (Method::DELETE, "/vms"),
    ] {
        let answer = api.send(method, path, &[]).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.json()["request_id"], id, "{path}");
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        let log = node.log();
        assert!(
            log.contains(&format!("request_id=\"{id}\"")),
            "{path}: {log}"
        );
    }
    let head = api.head("/vms/no-such").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_named_however_little_is_logged() {
    let mut node = TestNode::prepare(&[], "").await;
    let file = node.path("config.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("\"debug\"", "\"warn\"")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    api.login(USER, "wrong").await.error(401);
    let log = node.log();
    let refused: Vec<_> = log
        .lines()
        .filter(|line| line.contains("login refused"))
        .collect();
    assert_eq!(refused.len(), 1, "{log}");
    assert!(refused[0].contains("request_id="), "{log}");
    assert!(!log.contains("INFO") && !log.contains("DEBUG"), "{log}");
}
