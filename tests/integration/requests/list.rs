//! `GET /snapshots`: those of all machines, with the space that each holds alone.

use serde_json::{Value, json};

use super::{path_of, take};
use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};

async fn entry(api: &Api, snapshot: &Value) -> Value {
    let all = api.json("/snapshots").await;
    let mut entries = all.as_array().unwrap().iter();
    entries
        .find(|entry| entry["id"] == snapshot["id"])
        .unwrap_or_else(|| panic!("{all}"))
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_snapshots_are_listed_with_what_deleting_them_would_free() {
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let node = TestNode::new(&[kind]).await;
        let (one, two) = (node.machine(0, 1, &[4 << 20]), node.machine(0, 2, &[4096]));
        crate::defects::write(&one.disks[0], 1, 0, 4 << 20);
        let api = Api::of(&node).await;
        let base = take(&api, &one.id, json!({"label": "base", "expires_in": 900})).await;
        let other = take(&api, &two.id, json!({})).await;
        let listed = api.json("/snapshots/").await;
        let ids: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| text(&entry["id"]))
            .collect();
        assert_eq!(ids, [text(&base["id"]), text(&other["id"])], "oldest first");
        let listed = entry(&api, &base).await;
        assert_eq!(listed["vm_id"], one.id.as_str());
        assert_eq!(listed["label"], "base");
        assert_eq!(listed["state"], "ready");
        assert_eq!(listed["adopted"], false);
        assert_eq!(listed["expires_at"], base["expires_at"]);
        assert_eq!(listed["disks"], json!([base["disks"][0]["name"]]));
        assert_eq!(listed["size"], 4 << 20);
        assert!(listed["age_seconds"].as_u64().unwrap() < 600);
        assert_eq!(
            listed["exclusive_bytes"], 0,
            "{kind:?}: all shared with the disk"
        );

        // What the guest writes anew, the snapshot alone still holds as it was. Btrfs frees an
        // extent only when nobody has any of it.
        crate::defects::write(&one.disks[0], 2, 1 << 20, 1 << 20);
        let held = entry(&api, &base).await["exclusive_bytes"].clone();
        assert_eq!(
            held,
            if kind == Kind::Xfs { 1 << 20 } else { 0 },
            "{kind:?}"
        );
        crate::defects::write(&one.disks[0], 3, 0, 4 << 20);
        let held = entry(&api, &base).await["exclusive_bytes"].clone();
        assert_eq!(held, 4 << 20, "{kind:?}");
        let plain = api.json("/snapshots?space=false").await;
        assert_eq!(plain[0]["exclusive_bytes"], Value::Null);
        api.get("/snapshots?space=perhaps").await.error(400);
        assert_eq!(api.delete(&path_of(&base)).await.status, 200);
        assert_eq!(api.json("/snapshots").await.as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_belongs_to_nobody_is_listed_behind_the_others() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    let snapshot = take(&api, &vm.id, json!({})).await;
    let shelf = node.repositories[0].path().join("CoriolisSnapshots");
    let id = "0d1e2f30-0000-4000-8000-000000000001";
    std::fs::create_dir(shelf.join(id)).unwrap();
    std::fs::write(shelf.join(id).join("nobodys.img"), [1; 5000]).unwrap();
    let all = api.json("/snapshots").await;
    assert_eq!(all[0]["id"], snapshot["id"]);
    let unmatched = &all[1];
    assert_eq!(unmatched["id"], id);
    assert_eq!(unmatched["state"], "unmatched");
    assert_eq!(unmatched["vm_id"], Value::Null);
    assert_eq!(unmatched["disks"], json!(["nobodys.img"]));
    assert_eq!(unmatched["size"], 5000);
    assert!(text(&unmatched["reason"]).contains(id), "{unmatched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_used_is_listed_with_the_reason() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Xfs]).await;
    let vm = node.machine(1, 1, &[4096]);
    let api = Api::of(&node).await;
    let snapshot = take(&api, &vm.id, json!({})).await;
    node.stop();
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();
    node.start();
    let api = Api::of(&node).await;
    let waiting = entry(&api, &snapshot).await;
    assert_eq!(waiting["state"], "waiting");
    assert!(
        text(&waiting["reason"]).contains("not mounted"),
        "{waiting}"
    );
    assert_eq!(waiting["exclusive_bytes"], Value::Null);
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
    assert_eq!(entry(&api, &snapshot).await["state"], "ready");
}
