//! Some of a machine's disks, and how many snapshots it may have.

use serde_json::{Value, json};

use super::{ask, path_of, take};
use crate::support::api::Api;
use crate::support::node::{Kind, TestNode};

fn names(snapshot: &Value) -> Vec<&str> {
    let disks = snapshot["disks"].as_array().unwrap();
    disks
        .iter()
        .map(|disk| disk["name"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_can_be_of_some_disks_only() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let folder = node.repositories[0].path().join("VirtualDisks");
    let disk = |name: &str| {
        std::fs::write(folder.join(name), vec![1; 8192]).unwrap();
        folder.join(name).display().to_string()
    };
    let text = format!(
        "name = 'vm'\ndisk = ['file:{},xvda,w', 'file:{},xvdb,w', 'phy:/dev/mapper/lun,xvdc,w', \
         'file:{},xvdd:cdrom,r']\n",
        disk("a.img"),
        disk("b.img"),
        disk("c.iso")
    );
    node.vm_cfg(0, "vm", &text);
    let api = Api::of(&node).await;
    // The machine as a whole has a LUN; its other disks can be had.
    ask(&api, "vm", json!({})).await.error(400);
    let one = take(&api, "vm", json!({"disks": ["b.img"]})).await;
    assert_eq!(names(&one), ["b.img"]);
    let both = take(&api, "vm", json!({"disks": ["b.img", "a.img", "b.img"]})).await;
    assert_eq!(names(&both), ["a.img", "b.img"]);
    for (wanted, word) in [
        (json!(["d.img"]), "a.img, b.img"),
        (json!(["c.iso"]), "c.iso"),
        (json!(["lun"]), "LUN"),
        (json!(["../a.img"]), "../a.img"),
    ] {
        let (_, details) = ask(&api, "vm", json!({"disks": wanted})).await.error(400);
        assert!(details.contains(word), "{details}");
    }
    // What the base has not is named whole, and says so.
    let base = one["id"].as_str().unwrap();
    let compared = api
        .json(&format!("{}?compareTo={base}", path_of(&both)))
        .await;
    assert_eq!(compared["disks"][0]["base"], Value::Null);
    assert_eq!(compared["disks"][0]["chunks"][0]["length"], 8192);
    assert_eq!(compared["disks"][1]["base"], one["id"]);
    assert_eq!(compared["disks"][1]["chunks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_has_no_more_snapshots_than_it_may() {
    let limit = "[snapshots]\nmax_snapshots_per_vm = 2\n";
    let node = TestNode::with_config(&[Kind::Xfs], limit).await;
    let (one, two) = (node.machine(0, 1, &[4096]), node.machine(0, 2, &[4096]));
    let api = Api::of(&node).await;
    let first = take(&api, &one.id, json!({"idempotency_key": "a"})).await;
    take(&api, &one.id, json!({})).await;
    let (_, details) = ask(&api, &one.id, json!({})).await.error(409);
    assert!(details.contains("max_snapshots_per_vm"), "{details}");
    // What was made already is answered all the same, and others have their own count.
    take(&api, &one.id, json!({"idempotency_key": "a"})).await;
    take(&api, &two.id, json!({})).await;
    assert_eq!(api.delete(&path_of(&first)).await.status, 200);
    take(&api, &one.id, json!({})).await;
}
