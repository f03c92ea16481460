//! Two nodes that share a repository, and one disk's work.

use std::time::Duration;

use coriolis_ovm_exporter::client::replicate::{Event, How, StateFile, StateStore as _};
use coriolis_ovm_exporter::protocol::SnapshotRequest;
use jiff::Timestamp;

use super::super::support::neighbour::Neighbour;
use super::scene::{MIB, Scene, VM};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_one_disk() {
    let scene = Scene::with_disk(96 * MIB).await;
    let neighbour = Neighbour::of(&scene.node);
    let other = neighbour.client(&scene.node).await;
    for round in 0..2 {
        for at in 0..48 {
            scene.write(0, at * 2 * MIB, &[round + 1; 1 << 19]);
        }
        let run = scene.replication().from(other.clone());
        let outcome = run.least_segment(4 * MIB).run().await.unwrap();
        scene.check(&outcome).await;
        let disk = &outcome.disks[0];
        assert_eq!(disk.endpoints.len(), 2);
        for share in &disk.endpoints {
            assert!(share.covered >= 96 * MIB / 3, "round {round}: {disk:?}");
            assert_eq!(share.dropped, None);
        }
        let covered: u64 = disk.endpoints.iter().map(|share| share.covered).sum();
        assert_eq!(covered, 96 * MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_dies_on_the_way() {
    let mut scene = Scene::with_disk(96 * MIB).await;
    let neighbour = Neighbour::of(&scene.node);
    let other = neighbour.client(&scene.node).await;
    let (send, mut advanced) = tokio::sync::mpsc::unbounded_channel();
    let run = scene
        .replication()
        .from(other.clone())
        .least_segment(2 * MIB)
        .patience(Duration::from_secs(1))
        .progress(move |event: &Event<'_>| {
            if let Event::DiskAdvanced { done, .. } = event {
                let _ = send.send(*done);
                // So that it is still on its way when the node dies.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    let running = tokio::spawn(run.run());
    while advanced.recv().await.unwrap() < 8 * MIB {}
    scene.node.kill();
    let outcome = running.await.unwrap().unwrap();
    scene.client = other;
    scene.check(&outcome).await;
    assert_eq!(outcome.disks[0].how, How::Full);
    let living = format!("https://{}", neighbour.address());
    let share = |name: &str| {
        let shares = &outcome.disks[0].endpoints;
        shares.iter().find(|share| share.endpoint == name).cloned()
    };
    assert!(share(&living).unwrap().covered > 48 * MIB);
}

/// It says of every snapshot that it is gone, and nothing may be left for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_started_without_its_repositories_is_not_believed() {
    let scene = Scene::with_disk(2 * MIB).await;
    scene.run().await;
    let neighbour = Neighbour::without_repositories(&scene.node);
    let blind = neighbour.client(&scene.node).await;
    scene.write(0, 0, &[1; 4096]);
    let half = scene.run_until_written().await;
    let run = scene.replication_from(blind).from(scene.client.clone());
    let outcome = run.run().await.unwrap();
    assert_eq!(outcome.finished, Some(half));
    assert_eq!(outcome.disks[0].how, How::Incremental);
    scene.check(&outcome).await;
    // Nor is it asked for what a lost request has made.
    let request: SnapshotRequest = serde_json::from_str(r#"{"idempotency_key": "k"}"#).unwrap();
    let lost = scene.client.create_snapshot_with(VM, &request).await;
    let file = StateFile::open(scene.state_path()).unwrap();
    let mut state = file.load().unwrap().unwrap();
    state.lost_keys.insert("k".to_owned(), Timestamp::now());
    file.save(&state).unwrap();
    drop(file);
    let blind = neighbour.client(&scene.node).await;
    let run = scene.replication_from(blind).from(scene.client.clone());
    let outcome = run.run().await.unwrap();
    assert!(outcome.dropped.contains(&lost.unwrap().id));
    scene.check(&outcome).await;
}

/// A node that does not have the base, beside one that has it: nothing is mixed up.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_only_one_node_has() {
    let scene = Scene::with_disk(32 * MIB).await;
    let base = scene.run().await.snapshot;
    scene.write(0, 20 * MIB, &[1; 4096]);
    let stand_in = super::hostile::StandIn::of(&scene.node, move |asked, body| {
        if asked.contains(&format!("compareTo={base}")) {
            return Err(404);
        }
        Ok(body)
    })
    .await;
    let other = stand_in.client(&scene.node).await;
    let run = scene.replication().from(other);
    let outcome = run.least_segment(2 * MIB).run().await.unwrap();
    scene.check(&outcome).await;
    assert_eq!(outcome.disks[0].how, How::Incremental);
    let refused = outcome.disks[0]
        .endpoints
        .iter()
        .find(|share| share.endpoint == stand_in.endpoint());
    assert!(refused.is_some_and(|share| share.covered == 0 && share.dropped.is_some()));
}
