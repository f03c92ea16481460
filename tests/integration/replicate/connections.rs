//! Connections that break, tokens that expire, nodes that are away for a while.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::client::replicate::{Event, How, ReplicateError};

use super::super::support::node::{PASSWORD, USER};
use super::proxy::Proxy;
use super::scene::{MIB, Scene, VM};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_again_and_again_goes_on_where_it_was() {
    let scene = Scene::with_disk(48 * MIB).await;
    let proxy = Proxy::to(scene.node.address(), 3 * MIB, 6).await;
    let client = Client::login(&proxy.endpoint(), USER, PASSWORD, &scene.node.trust())
        .await
        .unwrap();
    let run = scene.replication_from(client.clone()).streams(1);
    let outcome = run.patience(Duration::from_secs(30)).run().await.unwrap();
    scene.check(&outcome).await;
    assert_eq!(proxy.cuts.load(SeqCst), 6);
    let disk = &outcome.disks[0];
    assert_eq!(disk.resumed, 6);
    // Each break costs what was on the way, not what was there.
    let covered = disk.data + disk.zeros + disk.zeros_skipped;
    assert_eq!(covered, 48 * MIB, "{disk:?}");
    assert!(disk.received < 32 * MIB, "{disk:?}");
    // The same while changes are copied.
    for at in 0..24 {
        scene.write(0, at * 2 * MIB, &[3; 1 << 19]);
    }
    proxy.left.store(4, SeqCst);
    let run = scene.replication_from(client).least_segment(4 * MIB);
    let outcome = run.patience(Duration::from_secs(30)).run().await.unwrap();
    scene.check(&outcome).await;
    assert_eq!(outcome.disks[0].how, How::Incremental);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_stays_broken_ends_the_run_and_the_next_one_goes_on() {
    let scene = Scene::with_disk(16 * MIB).await;
    let proxy = Proxy::to(scene.node.address(), 64 << 10, u64::MAX).await;
    let client = Client::login(&proxy.endpoint(), USER, PASSWORD, &scene.node.trust())
        .await
        .unwrap();
    let run = scene
        .replication_from(client)
        .patience(Duration::from_secs(1));
    let error = run.run().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(
        matches!(&error, ReplicateError::Copy { disk, endpoint, .. }
            if disk == "a.img" && *endpoint == proxy.endpoint()),
        "{error}"
    );
    let outcome = scene.run().await;
    assert!(outcome.finished.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_on_the_way_is_renewed() {
    let names = ["a.img", "b.img", "c.img", "d.img"];
    let scene = Scene::with_config(&names, "[jwt]\ntime_to_live = \"1s\"\n").await;
    for disk in 0..4 {
        scene.make(disk, 4 * MIB);
    }
    let slow = |event: &Event<'_>| {
        if matches!(event, Event::DiskStarted { .. }) {
            std::thread::sleep(Duration::from_millis(900));
        }
    };
    let run = scene.replication().parallel_disks(1).progress(slow);
    let begun = std::time::Instant::now();
    let outcome = run.run().await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(3), "no token expired");
    scene.check(&outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_and_comes_back_is_waited_for() {
    let mut scene = Scene::with_disk(32 * MIB).await;
    // The port is another one after a start: the proxy knows where it is.
    let proxy = Proxy::to(scene.node.address(), u64::MAX, 0).await;
    let client = Client::login(&proxy.endpoint(), USER, PASSWORD, &scene.node.trust())
        .await
        .unwrap();
    let (send, mut written) = tokio::sync::mpsc::unbounded_channel();
    let run = scene
        .replication_from(client)
        .patience(Duration::from_secs(1))
        .progress(move |event: &Event<'_>| {
            if matches!(event, Event::DiskAdvanced { .. }) {
                let _ = send.send(());
            }
        });
    let running = tokio::spawn(run.run());
    written.recv().await.unwrap();
    scene.node.kill();
    // Faster than the kill, or not.
    let ended = running.await.unwrap();
    scene.node.start();
    scene.client = scene.node.client().await;
    if let Err(error) = ended {
        assert!(error.is_transient(), "{error:?}");
    }
    scene.run().await;
    assert_eq!(scene.client.vm(VM).await.unwrap().snapshots.len(), 1);
}
