//! What is said of a snapshot can be changed although its disk is no longer what was sealed; and what is
//! refused has changed nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coriolis_ovm_exporter::protocol::SnapshotChange;
use coriolis_ovm_exporter::sys::attributes;
use reqwest::Method;
use serde_json::{Value, json};

use super::{patch, path_of, take};
use crate::support::api::{Answer, Api, text};
use crate::support::node::{Kind, TestNode};

async fn patch_without_chunks(api: &Api, snapshot: &Value, body: Value) -> Answer {
    let path = format!("{}?chunks=false", path_of(snapshot));
    api.send_body(Method::PATCH, &path, body).await
}

/// What the list says of the snapshot, for which no disk is opened.
async fn listed(api: &Api, snapshot: &Value) -> Value {
    let all = api.json("/snapshots?space=false").await;
    let mut all = all.as_array().unwrap().iter();
    all.find(|entry| entry["id"] == snapshot["id"])
        .unwrap()
        .clone()
}

fn unseal(file: &Path) {
    attributes::set(&File::open(file).unwrap(), attributes::IMMUTABLE, false).unwrap();
}

/// The same without chunks.
fn without_chunks(snapshot: &Value) -> Value {
    let mut snapshot = snapshot.clone();
    for disk in snapshot["disks"].as_array_mut().unwrap() {
        disk["chunks"] = json!([]);
    }
    snapshot
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_what_was_sealed_is_changed_without_chunks_and_not_with_them() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let node = TestNode::new(&[kind]).await;
        let vm = node.machine(0, 1, &[1 << 20, 8192]);
        File::options()
            .write(true)
            .open(&vm.disks[0])
            .and_then(|disk| disk.write_all_at(&[7; 4096], 0))
            .unwrap();
        let api = Api::of(&node).await;
        let snapshot = take(&api, &vm.id, json!({"label": "sealed"})).await;
        assert_ne!(snapshot["disks"][0]["chunks"], json!([]));

        // As long as it can be read, the answer is the same but for what was asked for.
        let changed = patch_without_chunks(&api, &snapshot, json!({"label": "whole"})).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        let mut expected = without_chunks(&snapshot);
        expected["label"] = json!("whole");
        assert_eq!(changed.json(), expected);
        let both = format!(
            "{}?chunks=false&compareTo={}",
            path_of(&snapshot),
            text(&snapshot["id"])
        );
        let both = api.send_body(Method::PATCH, &both, json!({"label": "both"}));
        both.await.error(400);
        let odd = format!("{}?chunks=perhaps", path_of(&snapshot));
        let odd = api.send_body(Method::PATCH, &odd, json!({"label": "odd"}));
        odd.await.error(400);
        assert_eq!(listed(&api, &snapshot).await["label"], "whole");

        let file = Path::new(text(&snapshot["disks"][1]["path"]));
        unseal(file);
        File::options()
            .write(true)
            .open(file)
            .and_then(|disk| disk.write_all_at(b"!", 5))
            .unwrap();
        tampered(&node, &api, &snapshot, "written to").await;
        fs::remove_file(file).unwrap();
        tampered(&node, &api, &snapshot, "is gone").await;
        assert_eq!(api.delete(&path_of(&snapshot)).await.status, 200);
    }
}

async fn tampered(node: &TestNode, api: &Api, snapshot: &Value, why: &str) {
    let before = listed(api, snapshot).await;
    let (_, details) = patch(api, snapshot, json!({"label": why, "expires_in": "1h"}))
        .await
        .error(409);
    assert!(details.contains(why), "{details}");
    let now = listed(api, snapshot).await;
    for field in ["label", "expires_at", "state"] {
        assert_eq!(now[field], before[field], "nothing was changed");
    }

    let body = json!({"label": why, "expires_in": "1h"});
    let changed = patch_without_chunks(api, snapshot, body).await;
    assert_eq!(changed.status, 200, "{why}: {changed:?}");
    let changed = changed.json();
    assert_eq!(changed["label"], why);
    assert_eq!(changed["disks"], without_chunks(snapshot)["disks"]);
    let now = listed(api, snapshot).await;
    assert_eq!(now["label"], why);
    assert_eq!(now["expires_at"], changed["expires_at"]);

    // As the library asks.
    let client = node.client().await;
    let change = SnapshotChange {
        label: Some(Some(format!("{why}, by the library"))),
        expires_in: Some(None),
    };
    let id = text(&snapshot["id"]).parse().unwrap();
    let vm = text(&snapshot["vm_id"]);
    let changed = client.change_snapshot(vm, id, &change).await.unwrap();
    assert_eq!(changed.label, change.label.clone().unwrap());
    assert!(changed.disks.iter().all(|disk| disk.chunks.is_empty()));
    let now = listed(api, snapshot).await;
    assert_eq!(now["label"], json!(change.label.unwrap()));
    assert_eq!(now["expires_at"], Value::Null);
}
