//! A repository whose root answers, and nothing deeper does: it keeps nothing else waiting, holds few
//! threads, and what lies there is never said to be gone.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::silent::Silent;
use crate::support::wait;

/// Of the daemon.
fn threads(node: &TestNode) -> usize {
    let tasks = format!("/proc/{}/task", node.daemon_id());
    fs::read_dir(tasks).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_that_hangs_at_the_start_keeps_no_other_from_being_tended() {
    let more = "[snapshots]\nlock_timeout = \"0s\"\n";
    let mut node = TestNode::with_config(&[Kind::Xfs, Kind::Xfs], more).await;
    let (stuck, well) = (node.machine(0, 1, &[4096]), node.machine(1, 2, &[4096]));
    let api = Api::of(&node).await;
    let kept = api.snapshot(&stuck.id).await;
    let path = format!("/vms/{}/snapshots/{}", stuck.id, text(&kept["id"]));
    let nobody = "7b0a1f5e-56a5-4c4a-9f5c-2f0c6f0f9f3a";
    let unknown = format!("/vms/{}/snapshots/{nobody}", well.id);
    api.get(&unknown).await.error(404);
    let left = node.repositories[1]
        .path()
        .join(format!("CoriolisSnapshots/.unfinished-{nobody}"));
    node.stop();
    fs::create_dir_all(&left).unwrap();

    let silent = Silent::new(&node.repositories[0].path().join("CoriolisSnapshots"));
    node.start();
    assert!(!left.exists(), "the other one is tended");
    let id = node.repositories[0].id.clone();
    let late = format!("recovery's look at repository {id} has got no further for 10 s");
    wait::until("it is named in the log", || node.log().contains(&late));
    let api = Api::of(&node).await;
    let begun = Instant::now();
    api.snapshot(&well.id).await;
    // One is known to lie there, the other one may.
    for path in [&path, &unknown] {
        let (_, details) = api.get(path).await.error(503);
        assert!(details.contains(&id), "{details}");
        api.delete(path).await.error(503);
    }
    let machine = format!("/vms/{}", stuck.id);
    let (_, details) = api.get(&machine).await.error(503);
    assert!(details.contains(&id), "{details}");
    let told = api.json("/node").await["warnings"].to_string();
    assert!(told.contains("does not answer"), "{told}");
    let asked = begun.elapsed();
    assert!(asked < Duration::from_secs(9), "{asked:?}");

    drop(silent);
    wait::until_told("it is there again", async || {
        api.get(&path).await.status == 200
    })
    .await;
    api.get(&unknown).await.error(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_for_what_hangs_few_threads_are_held() {
    const ASKING: usize = 100;
    let more = "[snapshots]\nlock_timeout = \"0s\"\n";
    let node = TestNode::with_config(&[Kind::Xfs, Kind::Xfs], more).await;
    let (stuck, well) = (node.machine(0, 1, &[4096]), node.machine(1, 2, &[4096]));
    let api = Api::of(&node).await;
    let kept = api.snapshot(&stuck.id).await;
    let disk = text(&kept["disks"][0]["name"]).to_owned();
    let path = format!("/vms/{}/snapshots/{}", stuck.id, text(&kept["id"]));
    let bytes = format!("{path}/disks/{disk}");
    assert_eq!(api.get(&bytes).await.status, 200);
    let before = threads(&node);

    let file = node.repositories[0]
        .path()
        .join("CoriolisSnapshots")
        .join(text(&kept["id"]))
        .join(&disk);
    let silent = Silent::new(&file);
    let asked = (0..ASKING).map(|_| api.get(&bytes));
    for answer in join_all(asked).await {
        answer.error(503);
    }
    // Those that wait for nothing end after a while.
    wait::until("few are held", || threads(&node) < before + ASKING / 2);
    let begun = Instant::now();
    for _ in 0..ASKING {
        let (_, details) = api.get(&bytes).await.error(503);
        assert!(details.contains("does not answer"), "{details}");
    }
    let asked = begun.elapsed();
    assert!(asked < Duration::from_secs(9), "{asked:?}");
    api.snapshot(&well.id).await;

    drop(silent);
    wait::until_told("it is there again", async || {
        api.get(&bytes).await.status == 200
    })
    .await;
}
