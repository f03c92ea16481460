//! A file system that does not answer: as a cluster's while a node of the pool is dead.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::api::Api;
use crate::support::frozen::Frozen;
use crate::support::node::{Kind, TestNode};
use crate::support::silent::Silent;
use crate::support::wait;

/// Thaws what somebody else has frozen, and what may be thawed already.
struct Thawed(PathBuf);

impl Drop for Thawed {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.0)
            .output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_begin_is_given_up_and_leaves_nothing() {
    let patience = "[snapshots]\nlock_timeout = \"0s\"\n";
    let node = TestNode::with_config(&[Kind::Xfs, Kind::Xfs], patience).await;
    let (stuck, well) = (node.machine(0, 1, &[4096]), node.machine(1, 2, &[4096]));
    let api = Api::of(&node).await;
    let path = format!("/vms/{}/snapshots", stuck.id);
    let kept = api.snapshot(&stuck.id).await;

    let frozen = Frozen::new(&node.repositories[0].path());
    let begun = Instant::now();
    let asked = api.send_body(reqwest::Method::POST, &path, json!({"label": "late"}));
    let meanwhile = async {
        // Machines elsewhere are not kept waiting, and neither is the next request for this one.
        api.snapshot(&well.id).await;
        let busy = api.post(&path).await.unwrap();
        busy.error(503);
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(api.json(&path).await.as_array().unwrap().len(), 1);
    };
    let (answer, ()) = tokio::join!(asked, meanwhile);
    let (_, details) = answer.error(503);
    assert!(details.contains("nothing was changed"), "{details}");
    assert!(!answer.header("retry-after").is_empty());
    drop(frozen);

    // The operation wakes, finds that nobody waits for it, and takes back what it had begun.
    let shelf = node.repositories[0].path().join("CoriolisSnapshots");
    let mut entries = Vec::new();
    wait::until_nothing("nothing is left of it", || {
        entries = std::fs::read_dir(&shelf)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut others = entries.clone();
        others.retain(|name| Some(name.as_str()) != kept["id"].as_str());
        others
    })
    .await;
    wait::until("the machine is free again", || {
        node.log().contains("could not begin")
    });
    let mut answer = api.post(&path).await.unwrap();
    while answer.status == 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = api.post(&path).await.unwrap();
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["label"], serde_json::Value::Null);
    assert_eq!(api.json(&path).await.as_array().unwrap().len(), 2);
}

/// Not even its root can be opened: it counts as one that is not there, and the others are what they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_silent_keeps_no_request_for_the_others_waiting() {
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], "").await;
    let (stuck, well) = (node.machine(0, 1, &[4096]), node.machine(1, 2, &[4096]));
    let silent = Silent::new(&node.repositories[0].path());
    node.start();
    let api = Api::of(&node).await;
    let begun = Instant::now();
    api.snapshot(&well.id).await;
    let listed = api.json("/vms").await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed:#}");
    let told = api.json("/node").await["warnings"].to_string();
    let id = &node.repositories[0].id;
    for part in [id, "does not answer"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let path = format!("/vms/{}/snapshots", stuck.id);
    api.post(&path).await.unwrap().error(404);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        node.log()
            .contains(&format!("repository {id} cannot be used"))
    );
    drop(silent);
    wait::until_told("it is there again", async || {
        api.post(&path).await.unwrap().status == 200
    })
    .await;
}

/// A node whose storage dies in the middle of a snapshot with consistency "command": when
/// everything is ready, and only the clones are left to be made.
async fn doomed() -> TestNode {
    let mut node = TestNode::prepare(&[Kind::Xfs], "").await;
    let mount_point = node.repositories[0].path();
    let mount_point = mount_point.display();
    node.configure(&format!(
        "[snapshots]\nstorage_timeout = \"5s\"\nmax_pause = \"60s\"\n\
         before_snapshot = [\"/bin/sh\", \"-c\", \"fsfreeze --freeze {mount_point}\"]\n\
         after_snapshot = [\"/bin/true\"]\n",
    ));
    node.start();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_hangs_is_answered_and_undone_when_it_wakes() {
    let node = doomed().await;
    let mount_point = node.repositories[0].path();
    let machine = node.machine(0, 1, &[1 << 20, 4096]);
    let api = Api::of(&node).await;
    let path = format!("/vms/{}/snapshots", machine.id);
    let kept = api.snapshot(&machine.id).await;

    let thawed = Thawed(mount_point.clone());
    let body = json!({"consistency": "command", "idempotency_key": "once"});
    let begun = Instant::now();
    let answer = api.send_body(reqwest::Method::POST, &path, body).await;
    // Nobody has thawed it: the guard would only after a minute.
    assert!(
        begun.elapsed() < Duration::from_secs(45),
        "{:?}",
        begun.elapsed()
    );
    let (_, details) = answer.error(503);
    for part in ["no snapshot was taken", "cloning", "5 s"] {
        assert!(details.contains(part), "{details}");
    }
    assert!(
        details.contains(&machine.disks[0].display().to_string()),
        "{details}"
    );
    assert!(!answer.header("retry-after").is_empty());
    let listed = api.json(&path).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed:#}");
    drop(thawed);

    let shelf = mount_point.join("CoriolisSnapshots");
    wait::until_nothing("what was made is undone", || {
        let mut entries: Vec<String> = std::fs::read_dir(&shelf)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        entries.retain(|name| Some(name.as_str()) != kept["id"].as_str());
        entries
    })
    .await;
    wait::until("it is said", || node.log().contains("nobody waits for it"));
    // The same request again, which has made nothing yet.
    let body = json!({"idempotency_key": "once"});
    let again = || api.send_body(reqwest::Method::POST, &path, body.clone());
    let mut answer = again().await;
    while answer.status == 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = again().await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(api.json(&path).await.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_and_hangs_keeps_no_other_from_starting() {
    let mut node = doomed().await;
    let machine = node.machine(0, 1, &[4096]);
    let api = Api::of(&node).await;
    // Waited for when the storage answers again.
    let mut killed = None;
    let _thawed = Thawed(node.repositories[0].path());
    let path = format!("/vms/{}/snapshots", machine.id);
    let body = json!({"consistency": "command"});
    api.send_body(reqwest::Method::POST, &path, body)
        .await
        .error(503);
    let daemon = killed.insert(node.take_daemon());
    let id = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    kill(id, Signal::SIGKILL).unwrap();
    node.start();
    let log = node.log();
    assert!(log.contains("going on beside it"), "{log}");
    // It serves: what does not touch the dead storage is answered.
    Api::of(&node).await;
}
