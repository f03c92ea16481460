//! A repository that is not mounted when the daemon starts, and comes later: its snapshots wait.

use std::path::PathBuf;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use reqwest::Method;
use serde_json::{Value, json};

use super::faults::die_at;
use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::peace;
use crate::support::truth::{Truth, images};
use crate::support::wait;

/// Its disks lie in both repositories, the other one's in the second only.
const SPREAD: &str = "0004fb00000600000000000000000001";
const AWAY: &str = "0004fb00000600000000000000000002";

/// Two machines; leftovers are looked for every second.
async fn node() -> (TestNode, [(&'static str, Vec<PathBuf>); 2]) {
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let node = TestNode::with_config(&[Kind::Xfs, Kind::Btrfs], more).await;
    let disk = |repository: usize, name: &str| {
        let folder = node.repositories[repository].path().join("VirtualDisks");
        std::fs::write(folder.join(name), vec![1; 64 << 10]).unwrap();
        folder.join(name)
    };
    let machines = [
        (SPREAD, vec![disk(0, "one.img"), disk(1, "two.img")]),
        (AWAY, vec![disk(1, "three.img")]),
    ];
    for (vm, disks) in &machines {
        let entries: Vec<String> = disks
            .iter()
            .zip('a'..)
            .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
            .collect();
        let config = format!("name = '{vm}'\ndisk = [{}]\n", entries.join(", "));
        node.vm_cfg(0, vm, &config);
    }
    (node, machines)
}

fn mount(node: &mut TestNode, repository: usize, on: bool) {
    let mount = node.repositories[repository].ground.mount().unwrap();
    if on {
        mount.mount().unwrap();
    } else {
        mount.unmount().unwrap();
    }
}

/// Waits until leftovers have been looked for, from the beginning to the end, and none found.
fn looked_again(node: &TestNode) {
    let looked = || node.log().matches("no leftovers").count();
    let before = looked();
    wait::until("leftovers are looked for", || looked() > before + 1);
}

/// A snapshot, and then a write to every disk.
async fn take(api: &Api, vm: &str, disks: &[PathBuf], body: Value) -> Truth {
    let images = images(disks);
    let path = format!("/vms/{vm}/snapshots");
    let taken = api.send_body(Method::POST, &path, body).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    for (disk, byte) in disks.iter().zip(2..) {
        let mut bytes = images[&disk.display().to_string()].clone();
        bytes[8192..20_000].fill(byte);
        std::fs::write(disk, bytes).unwrap();
    }
    Truth::of(&taken.json(), &images)
}

/// State and reason of each snapshot that is listed, by id.
async fn states(api: &Api) -> Vec<(String, String, String)> {
    let listed = api.json("/snapshots").await;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                word(&entry["id"]),
                word(&entry["state"]),
                word(&entry["reason"]),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_wait_for_a_repository_that_was_not_there_at_the_start() {
    let (mut node, machines) = node().await;
    let api = Api::of(&node).await;
    let mut chains = Vec::new();
    for (vm, disks) in &machines {
        let older = take(&api, vm, disks, json!({"label": "older"})).await;
        let newer = take(&api, vm, disks, json!({})).await;
        chains.push((older, newer));
    }
    let brief = take(&api, AWAY, &machines[1].1, json!({"expires_in": 1})).await;
    node.stop();
    mount(&mut node, 1, false);
    node.start();
    wait::until("the term is over", || brief.is_over());
    let api = Api::of(&node).await;
    let away = node.repositories[1].id.clone();
    // However often it is looked, and whoever looks for leftovers meanwhile.
    for _ in 0..2 {
        let states = states(&api).await;
        assert_eq!(states.len(), 5, "{states:#?}");
        for (id, state, reason) in &states {
            assert_eq!(state, "waiting", "{id}: {reason}");
            assert!(
                reason.contains(&away) && reason.contains("not mounted"),
                "{reason}"
            );
        }
        let warnings = api.json("/node").await["warnings"].to_string();
        assert!(
            states.iter().all(|(id, ..)| warnings.contains(id)),
            "{warnings}"
        );
        for (older, newer) in &chains {
            refuses(&api, older, newer, &away).await;
        }
        looked_again(&node);
    }

    mount(&mut node, 1, true);
    wait::until_told("what is over goes", async || {
        states(&api).await.iter().all(|(id, ..)| *id != brief.id)
    })
    .await;
    for (id, state, reason) in states(&api).await {
        assert_eq!(state, "ready", "{id}: {reason}");
    }
    peace::returns(&node, &api).await;
    for ((older, newer), (vm, disks)) in chains.iter().zip(&machines) {
        let shown = api.json(&newer.path()).await;
        assert_eq!(
            newer.check_downloads(&api, &shown).await.unwrap(),
            newer.size()
        );
        let next = take(&api, vm, disks, json!({})).await;
        for (base, snapshot) in [(older, newer), (newer, &next)] {
            let path = format!("{}?compareTo={}", snapshot.path(), base.id);
            snapshot.check_changes(base, &api.json(&path).await);
        }
        assert_eq!(api.delete(&older.path()).await.status, 200);
        let all = format!("/vms/{vm}/snapshots");
        assert_eq!(api.delete(&all).await.status, 200);
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

/// Nothing can be had of them, and nothing be done to them.
async fn refuses(api: &Api, older: &Truth, newer: &Truth, away: &str) {
    let all = format!("/vms/{}/snapshots", older.vm);
    let disk = newer
        .images
        .keys()
        .next()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap();
    let compared = format!("{}?compareTo={}", newer.path(), older.id);
    for answer in [
        api.get(&newer.path()).await,
        api.get(&compared).await,
        api.get(&format!("{}/disks/{disk}", newer.path())).await,
        // An empty list would say that there is none.
        api.get(&all).await,
        api.delete(&older.path()).await,
        api.delete(&all).await,
        api.send_body(Method::PATCH, &older.path(), json!({"label": "x"}))
            .await,
    ] {
        let (_, details) = answer.error(503);
        assert!(details.contains(away), "{details}");
    }
}

/// Where a daemon is killed that was asked for something, so that the two repositories differ.
const HALVES: [(&str, &str); 8] = [
    ("DELETE", "delete.marked:1"),
    ("DELETE", "delete.marked:2"),
    ("DELETE", "delete.disk.gone:1"),
    ("DELETE", "directory.gone:1"),
    ("DELETE", "directory.hidden.again:2"),
    ("POST", "directory.named:1"),
    ("POST", "create.cloned:1"),
    ("POST", "create.published:1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_done_is_finished_when_the_other_half_is_mounted() {
    let (mut node, machines) = node().await;
    let disks = &machines[0].1;
    let api = Api::of(&node).await;
    let kept = take(&api, SPREAD, disks, json!({})).await;
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for away in [0, 1] {
        let mut halves: Vec<_> = HALVES.to_vec();
        while halves.len() > usize::try_from(count(2, 8)).unwrap() {
            let one = usize::try_from(random.below(halves.len() as u64)).unwrap();
            halves.remove(one);
        }
        for (deed, point) in halves {
            let deed = Method::from_bytes(deed.as_bytes()).unwrap();
            node.stop();
            node.start();
            let api = Api::of(&node).await;
            let path = if deed == Method::DELETE {
                take(&api, SPREAD, disks, json!({})).await.path()
            } else {
                format!("/vms/{SPREAD}/snapshots")
            };
            node.stop();
            die_at(&mut node, point, async |api| {
                api.try_body(deed, &path, "").await.unwrap_err();
            })
            .await;

            mount(&mut node, away, false);
            node.start();
            let api = Api::of(&node).await;
            let before = node.snapshot_files();
            for (id, state, reason) in states(&api).await {
                assert_ne!(state, "ready", "{point}, {away} away: {id}");
                // Not before it can be deleted whole.
                let path = format!("/vms/{SPREAD}/snapshots/{id}");
                assert_eq!(api.delete(&path).await.status, 503, "{point}: {reason}");
            }
            looked_again(&node);
            assert_eq!(node.snapshot_files(), before, "{point}, {away} away");

            mount(&mut node, away, true);
            peace::returns(&node, &api).await;
            let states = states(&api).await;
            assert_eq!(states.len(), 1, "{point}, {away} away: {states:?}");
            let shown = api.json(&kept.path()).await;
            assert_eq!(kept.check_files(&shown), kept.size());
            assert_eq!(text(&shown["id"]), states[0].0);
        }
    }
}
