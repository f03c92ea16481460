//! Labels, and snapshots that go by themselves.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, patch, path_of, take};
use crate::support::api::Api;
use crate::support::node::{Kind, TestNode};
use crate::support::wait;

const OFTEN: &str = "[snapshots]\nrecover_interval = \"1s\"\n";

fn seconds_from_now(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().unwrap().parse().unwrap();
    time.duration_since(Timestamp::now()).as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_term_goes_and_nothing_else() {
    let node = TestNode::with_config(&[Kind::Xfs, Kind::Btrfs], OFTEN).await;
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    let kept = take(&api, &vm.id, json!({})).await;
    let long = take(&api, &vm.id, json!({"expires_in": "1h"})).await;
    let left = seconds_from_now(&long["expires_at"]);
    assert!((3500..=3600).contains(&left), "{left}");
    let extended = take(&api, &vm.id, json!({"expires_in": 2})).await;
    let answer = patch(&api, &extended, json!({"expires_in": "2h"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(seconds_from_now(&answer.json()["expires_at"]) > 7000);
    let forever = take(&api, &vm.id, json!({"expires_in": 2})).await;
    let answer = patch(&api, &forever, json!({"expires_in": null})).await;
    assert_eq!(answer.json()["expires_at"], Value::Null);
    let short = take(&api, &vm.id, json!({"expires_in": 1})).await;
    wait::until_nothing("an expired snapshot goes", || {
        let id = short["id"].as_str().unwrap();
        let mut files = node.snapshot_files();
        files.retain(|path| path.to_string_lossy().contains(id));
        files
    })
    .await;
    // The others have had their two seconds, and one more look.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let listed = api.json(&format!("/vms/{}/snapshots", vm.id)).await;
    let ids: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["id"])
        .collect();
    let expected = [&kept, &long, &extended, &forever].map(|snapshot| &snapshot["id"]);
    assert_eq!(ids, expected);
    api.get(&path_of(&short)).await.error(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_kept_changed_and_cleared() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[1 << 20]);
    let api = Api::of(&node).await;
    let snapshot = take(&api, &vm.id, json!({"label": "vor dem Umbau №1"})).await;
    assert_eq!(snapshot["label"], "vor dem Umbau №1");
    assert_eq!(snapshot["consistency"], "none");
    let changed = patch(&api, &snapshot, json!({"label": "danach"})).await;
    assert_eq!(changed.json()["label"], "danach");
    assert_eq!(
        changed.json()["disks"],
        snapshot["disks"],
        "disks never change"
    );
    node.stop();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(api.json(&path_of(&snapshot)).await["label"], "danach");
    // The manifest is as well protected as before.
    let mut manifests = node.snapshot_files();
    manifests.retain(|path| path.ends_with("manifest.json"));
    assert_eq!(manifests.len(), 1);
    let error = std::fs::remove_file(&manifests[0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let cleared = patch(&api, &snapshot, json!({"label": null})).await;
    assert_eq!(cleared.json()["label"], Value::Null);
    assert_eq!(api.delete(&path_of(&snapshot)).await.status, 200);
    patch(&api, &snapshot, json!({"label": "x"}))
        .await
        .error(404);
    assert!(node.snapshot_files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    for (body, word) in [
        (json!({"label": ""}), "label"),
        (json!({"label": "x".repeat(300)}), "256"),
        (json!({"label": "two\nlines"}), "control"),
        (json!({"lable": "x"}), "lable"),
        (json!({"expires_in": 0}), "expires_in"),
        (json!({"expires_in": -5}), "negative"),
        (json!({"expires_in": "-5s"}), "negative"),
        (json!({"expires_in": -0.5}), "negative"),
        (json!({"expires_in": 1.5}), "not whole"),
        (json!({"expires_in": "1.5s"}), "not whole"),
        (json!({"expires_in": "500ms"}), "shorter than 1 s"),
        (json!({"expires_in": "3 days"}), "expires_in"),
        (json!({"expires_in": "900000h"}), "ten years"),
        (json!({"idempotency_key": ""}), "idempotency_key"),
        (json!({"consistency": "maybe"}), "maybe"),
        (json!({"disks": []}), "disks"),
        (json!({"disks": "a.img"}), "type"),
        (json!([]), "{"),
    ] {
        let (_, details) = ask(&api, &vm.id, body.clone()).await.error(400);
        assert!(details.contains(word), "{body}: {details}");
    }
    let path = format!("/vms/{}/snapshots", vm.id);
    let half = api.send_body(Method::POST, &path, "{\"label\"").await;
    half.error(400);
    let twice = api.send_body(Method::POST, &path, r#"{"label": "a", "label": "b"}"#);
    let (_, details) = twice.await.error(400);
    assert!(
        details.contains("`label`") && details.contains("twice"),
        "{details}"
    );
    assert!(node.snapshot_files().is_empty());
    // No body, an empty one, null: as clients of the first generation may send it.
    for nothing in ["", "null", "{}", "  \n"] {
        let answer = api.send_body(Method::POST, &path, nothing).await;
        assert_eq!(answer.status, 200, "{nothing:?}: {answer:?}");
    }
    let snapshot = take(&api, &vm.id, json!({"label": "kept"})).await;
    for body in [json!({"label": 5}), json!({"disks": ["a"]})] {
        patch(&api, &snapshot, body).await.error(400);
    }
    // A slip: whoever means to change nothing need not ask.
    let path = path_of(&snapshot);
    for nothing in ["", "null", "{}", " \n"] {
        let answer = api.send_body(Method::PATCH, &path, nothing);
        let (_, details) = answer.await.error(400);
        for field in ["label", "expires_in"] {
            assert!(details.contains(field), "{nothing:?}: {details}");
        }
    }
    assert_eq!(api.json(&path_of(&snapshot)).await["label"], "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_not_promised_where_nothing_can_pause() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    node.kill();
    node.configure("toolstack = \"/nowhere/xm\"\n");
    node.start();
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    let wish = json!({"consistency": "pause"});
    let (_, details) = ask(&api, &vm.id, wish).await.error(400);
    assert!(details.contains("not installed"), "{details}");
    assert!(node.snapshot_files().is_empty());
}
