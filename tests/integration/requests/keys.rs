//! A request that is sent twice makes one snapshot, whichever node it is sent to.

use serde_json::json;

use super::{ask, take};
use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::neighbour::Neighbour;
use crate::support::node::{Kind, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_with_the_same_snapshot() {
    let mut node = TestNode::new(&[Kind::Xfs]).await;
    let (one, two) = (node.machine(0, 1, &[4096]), node.machine(0, 2, &[4096]));
    let api = Api::of(&node).await;
    let body = json!({"idempotency_key": "run 7", "label": "nightly", "expires_in": "1h"});
    let first = take(&api, &one.id, body.clone()).await;
    let again = json!({"expires_in": 3600, "label": "nightly", "idempotency_key": "run 7"});
    assert_eq!(take(&api, &one.id, again).await["id"], first["id"]);

    let other = ask(&api, &one.id, json!({"idempotency_key": "run 7"})).await;
    let (_, details) = other.error(409);
    assert!(details.contains("run 7"), "{details}");
    assert!(details.contains(first["id"].as_str().unwrap()), "{details}");

    // A key is a machine's own; without one every request makes a snapshot.
    let elsewhere = take(&api, &two.id, body.clone()).await;
    assert_ne!(elsewhere["id"], first["id"]);
    let unkeyed = [
        take(&api, &one.id, json!({})).await,
        take(&api, &one.id, json!({})).await,
    ];
    assert_ne!(unkeyed[0]["id"], unkeyed[1]["id"]);

    // It outlives the daemon and its index, and is known to the other node.
    node.stop();
    std::fs::remove_file(node.path("exporter.db")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(take(&api, &one.id, body.clone()).await["id"], first["id"]);
    let neighbour = Neighbour::of(&node);
    let there = Api::at(&node, neighbour.address()).await;
    assert_eq!(take(&there, &one.id, body.clone()).await["id"], first["id"]);

    // A machine that cannot be snapshotted any more is answered what it was answered before.
    std::fs::remove_file(&one.disks[0]).unwrap();
    assert_eq!(take(&api, &one.id, body.clone()).await["id"], first["id"]);
    ask(&api, &one.id, json!({})).await.error(400);

    // With the snapshot goes its key.
    let path = super::path_of(&elsewhere);
    assert_eq!(api.delete(&path).await.status, 200);
    assert_ne!(take(&api, &two.id, body).await["id"], elsewhere["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_at_once_on_two_nodes_one_makes_the_snapshot() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[1 << 20, 1 << 20]);
    let neighbour = Neighbour::of(&node);
    let here = Api::of(&node).await;
    let there = Api::at(&node, neighbour.address()).await;
    for round in 0..count(10, 200) {
        let body = json!({"idempotency_key": format!("round {round}")});
        let (mut ids, mut busy) = (Vec::new(), 0);
        // Both may step back at once, and have to be asked again then.
        for _ in 0..100 {
            let answers = tokio::join!(
                ask(&here, &vm.id, body.clone()),
                ask(&here, &vm.id, body.clone()),
                ask(&there, &vm.id, body.clone()),
                ask(&there, &vm.id, body.clone())
            );
            for answer in [answers.0, answers.1, answers.2, answers.3] {
                if answer.status == 503 {
                    busy += 1;
                    continue;
                }
                assert_eq!(answer.status, 200, "{answer:?}");
                ids.push(answer.json()["id"].as_str().unwrap().to_owned());
            }
            if !ids.is_empty() {
                break;
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        let listed = here.json(&format!("/vms/{}/snapshots", vm.id)).await;
        assert_eq!(listed.as_array().unwrap().len(), 1, "round {round}");
        println!("round {round}: one snapshot, {busy} times busy");
        let path = format!("/vms/{}/snapshots", vm.id);
        assert_eq!(here.delete(&path).await.status, 200);
    }
    assert_eq!(node.snapshot_files().len(), 0);
}
