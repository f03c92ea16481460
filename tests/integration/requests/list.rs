//! `GET /snapshots`: those of all machines, with the space that each holds alone.

use std::fs::{self, File};
use std::path::Path;

use coriolis_ovm_exporter::sys::attributes;
use reqwest::Method;
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
        assert_eq!(listed.get("idempotency_key"), Some(&Value::Null));
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
async fn whoever_streams_is_spared_the_chunks() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4 << 20]);
    crate::defects::write(&vm.disks[0], 1, 0, 4 << 20);
    let api = Api::of(&node).await;
    let snapshots = format!("/vms/{}/snapshots", vm.id);
    let wish = json!({"idempotency_key": "once"});
    let bare = format!("{snapshots}?chunks=false");
    let answer = api.send_body(Method::POST, &bare, &wish).await;
    assert_eq!(answer.status, 200);
    let bare = answer.json();
    let whole = take(&api, &vm.id, wish).await;
    assert_eq!(whole["disks"][0]["chunks"].as_array().unwrap().len(), 1);
    let mut without = whole.clone();
    without["disks"][0]["chunks"] = json!([]);
    assert_eq!(bare, without, "the chunks, and nothing else");
    let one = path_of(&whole);
    assert_eq!(api.json(&format!("{one}?chunks=false")).await, bare);
    assert_eq!(api.json(&format!("{one}?chunks=true")).await, whole);
    let list = api.json(&format!("{snapshots}?chunks=false")).await;
    assert_eq!(list, json!([bare]));
    let compared = format!("{one}?chunks=false&compareTo={}", text(&whole["id"]));
    for bad in [format!("{one}?chunks=maybe"), compared] {
        api.get(&bad).await.error(400);
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

/// Overwrites a file of a snapshot's, which is sealed.
fn overwrite(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let file = File::open(path).unwrap();
    attributes::set(&file, attributes::IMMUTABLE, false).unwrap();
    fs::write(path, bytes).unwrap();
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_listed_and_not_said_to_be_deleted() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let (one, two) = (node.machine(0, 1, &[4096]), node.machine(0, 2, &[4096]));
    let api = Api::of(&node).await;
    let told = take(&api, &one.id, json!({})).await;
    let well = take(&api, &one.id, json!({})).await;
    let mute = take(&api, &two.id, json!({})).await;
    let shelf = node.repositories[0].path().join("CoriolisSnapshots");
    let folder = |snapshot: &Value| shelf.join(text(&snapshot["id"]));
    // One says whose it is beside its manifest, the other one says nothing.
    let whole = overwrite(
        &folder(&told).join("manifest.json"),
        b"{\"version\": 1, \"id\"",
    );
    overwrite(&folder(&mute).join("manifest.json"), b"");
    overwrite(&folder(&mute).join(".deleting.json"), &[0; 500]);

    assert_eq!(entry(&api, &well).await["state"], "ready");
    for (snapshot, vm) in [(&told, json!(one.id)), (&mute, Value::Null)] {
        let listed = entry(&api, snapshot).await;
        assert_eq!(listed["state"], "unreadable", "{listed}");
        assert_eq!(listed["vm_id"], vm, "{listed}");
        let directory = folder(snapshot).display().to_string();
        assert!(text(&listed["reason"]).contains(&directory), "{listed}");
    }

    let all = |vm: &str| format!("/vms/{vm}/snapshots");
    for machine_is_there in [true, false] {
        if !machine_is_there {
            let machines = node.repositories[0].path().join("VirtualMachines");
            fs::remove_dir_all(machines.join(&one.id)).unwrap();
        }
        let (_, details) = api.delete(&all(&one.id)).await.error(409);
        let directory = folder(&told).display().to_string();
        assert!(details.contains(&directory), "{details}");
        assert!(!details.contains(text(&mute["id"])), "{details}");
        assert!(folder(&told).exists() && !folder(&well).exists());
    }

    // Nobody knows that it is this machine's.
    let answer = api.delete(&all(&two.id)).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    let directory = folder(&mute).display().to_string();
    let log = node.log();
    let mut lines = log.lines().filter(|line| line.contains("may be one of"));
    assert!(
        lines.any(|line| line.contains(&directory) && line.contains(&two.id)),
        "{log}"
    );
    let warned = api.json("/node").await["warnings"].to_string();
    assert!(warned.contains(&directory), "{warned}");
    assert!(folder(&mute).exists());

    fs::write(folder(&told).join("manifest.json"), whole).unwrap();
    let answer = api.delete(&all(&one.id)).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    assert!(!folder(&told).exists());
}
