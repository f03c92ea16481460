//! `doctor` on what lies on the repositories and should not.

use std::fs::{self, File};

use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use serde_json::json;
use uuid::Uuid;

use super::{Diagnosis, node};
use crate::support::api::{Api, text};
use crate::support::node::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_need_a_hand_are_found() {
    let mut node = node(&[Kind::Xfs, Kind::Xfs], "").await;
    let [one, other] = [0, 1].map(|at| {
        let disk = node.repositories[at].path().join("VirtualDisks/spread.img");
        fs::write(&disk, [1; 4096]).unwrap();
        disk.display().to_string()
    });
    let single = node.machine(0, 1, &[4096]).id;
    let spread = "0004fb00000600000000000000000009";
    let config =
        format!("name = '{spread}'\ndisk = ['file:{one},xvda,w', 'file:{other},xvdb,w']\n");
    node.vm_cfg(0, spread, &config);
    node.start();
    let api = Api::of(&node).await;
    let waiting = api.snapshot(spread).await;
    let path = format!("/vms/{single}/snapshots");
    let body = json!({"expires_in": "36h"});
    let expired = api
        .send_body(reqwest::Method::POST, &path, body)
        .await
        .json();
    node.stop();

    // Its term was over an hour ago, and no daemon ran since.
    let shelf = node.repositories[0].path().join("CoriolisSnapshots");
    let directory = shelf.join(text(&expired["id"]));
    let manifest = directory.join("manifest.json");
    let mut content: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let end = jiff::Timestamp::now().as_second() - 3600;
    content["expires_at"] = json!(jiff::Timestamp::from_second(end).unwrap());
    for sealed in [&directory, &manifest] {
        let sealed = File::open(sealed).unwrap();
        let _ = attributes::set(&sealed, IMMUTABLE, false);
    }
    fs::write(&manifest, content.to_string()).unwrap();

    let (orphan, unreadable) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    for id in [&orphan, &unreadable] {
        fs::create_dir(shelf.join(id)).unwrap();
    }
    fs::write(shelf.join(&orphan).join("x.img"), [1; 8192]).unwrap();
    fs::write(shelf.join(&unreadable).join("manifest.json"), "{").unwrap();
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .unmount()
        .unwrap();

    let found = Diagnosis::of(&node, &[]);
    found.has("snapshots", "warning", &[text(&waiting["id"]), "it waits"]);
    found.has(
        "snapshots",
        "warning",
        &[text(&expired["id"]), "term was over"],
    );
    found.has(
        "snapshots",
        "warning",
        &[&orphan, "8.0 KiB", "without a manifest"],
    );
    found.has("snapshots", "bad", &[&unreadable]);
    found.has("snapshots", "good", &["2 on all repositories"]);
    assert_eq!(found.status, 2);
    node.repositories[1]
        .ground
        .mount()
        .unwrap()
        .mount()
        .unwrap();
}
