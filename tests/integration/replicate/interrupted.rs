//! Runs that ended at the worst moment, and the ones after them.

use std::sync::Arc;
use std::time::Duration;

use coriolis_ovm_exporter::client::replicate::{
    Cancellation, Event, How, InMemory, Pending, ReplicaState, ReplicateError, Replication,
    StateFile, StateStore,
};
use coriolis_ovm_exporter::client::target::{Memory, Target};
use coriolis_ovm_exporter::client::{ClientError, Comparison, DiskOf};
use coriolis_ovm_exporter::protocol::{Consistency, Refine, SnapshotRequest};
use uuid::Uuid;

use super::hostile::StandIn;
use super::scene::{MIB, Scene, VM, once_written};

const BLOCK: u64 = 20_480;

/// A replica onto which half of a snapshot was written that holds a block which is in the next
/// snapshot again as it was in the base. Answers that snapshot.
async fn trap() -> (Scene, Uuid, Uuid) {
    let scene = Scene::with_disk(4 * MIB).await;
    let base = scene.run().await.snapshot;
    let before = std::fs::read(&scene.disks[0]).unwrap();
    let place = usize::try_from(BLOCK).unwrap();
    scene.write(0, BLOCK, &[0xAA; 4096]);
    let between = scene.run_until_written().await;
    let replica = std::fs::read(scene.replica("a.img")).unwrap();
    assert_eq!(replica[place..place + 4096], [0xAA; 4096], "it was written");
    scene.write(0, BLOCK, &before[place..place + 4096]);
    scene.write(0, 2 * MIB, &[0xBB; 4096]);
    (scene, base, between)
}

/// What the naive way would write: the changes from the base to now, found by content.
async fn naive(scene: &Scene, base: Uuid) -> Vec<u64> {
    let now = scene.client.create_snapshot(VM).await.unwrap();
    let disk = DiskOf {
        vm: VM,
        snapshot: now.id,
        disk: "a.img",
    };
    let comparison = Comparison {
        refine: Refine::Blocks,
        ..Comparison::to(Some(base))
    };
    let page = scene
        .client
        .ranges(&disk, &comparison, 0, None)
        .await
        .unwrap();
    scene.delete(now.id).await;
    page.ranges.iter().map(|range| range.start).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_applied_snapshot_is_finished_before_a_newer_one_follows() {
    let (scene, base, between) = trap().await;
    assert_eq!(naive(&scene, base).await, [2 * MIB], "the trap is one");
    let outcome = scene
        .replication()
        .refine(Refine::Blocks)
        .run()
        .await
        .unwrap();
    scene.check(&outcome).await;
    assert_eq!(outcome.finished, Some(between));
    assert_eq!(outcome.previous, Some(base));
    assert_eq!(outcome.dropped, [base, between]);
    assert_eq!(outcome.disks[0].how, How::Incremental);
    // Both steps are there: the block came back.
    assert_eq!(outcome.disks[0].data, 2 * 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_applied_snapshot_that_is_gone_is_found_out_by_digests() {
    let (scene, base, between) = trap().await;
    scene.delete(between).await;
    assert_eq!(naive(&scene, base).await, [2 * MIB], "the trap is one");
    let outcome = scene
        .replication()
        .refine(Refine::Blocks)
        .run()
        .await
        .unwrap();
    scene.check_files(outcome.snapshot).await;
    assert_eq!(scene.snapshots().await, [outcome.snapshot]);
    assert_eq!(outcome.finished, None);
    let disk = &outcome.disks[0];
    assert_eq!(disk.how, How::Digests);
    assert!(disk.why.contains(&between.to_string()), "{}", disk.why);
    // The first and the third megabyte, and nothing else.
    assert_eq!(disk.data + disk.zeros, 2 * MIB, "{disk:?}");
    assert!(outcome.warnings[0].contains(&between.to_string()));
    // That was that.
    assert_eq!(scene.run().await.disks[0].how, How::Incremental);
}

/// A node that has lost its repositories calls every snapshot gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_applied_snapshot_is_not_given_up_for_a_node_that_does_not_see_the_machine() {
    let (scene, _, between) = trap().await;
    let machine = format!("/api/v1/vms/{VM}");
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let stand_in = StandIn::of(&scene.node, move |asked, body| {
        if !asked.starts_with(&machine) {
            return Ok(body);
        }
        // It loses them after the run has begun.
        match looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Ok(body),
            _ => Err(404),
        }
    })
    .await;
    let before = scene.state();
    let run = scene.replication_from(stand_in.client(&scene.node).await);
    let error = run.run().await.unwrap_err();
    let status = error.client_error().and_then(ClientError::status);
    assert_eq!(status.map(|status| status.as_u16()), Some(404), "{error}");
    assert_eq!(scene.state(), before);
    let outcome = scene.run().await;
    assert_eq!(outcome.finished, Some(between));
    assert_eq!(outcome.finished_disks[0].how, How::Incremental);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_end_with_the_half_applied_snapshot() {
    let (scene, _, between) = trap().await;
    let outcome = scene.replication().catch_up(false).run().await.unwrap();
    scene.check(&outcome).await;
    assert_eq!(
        (outcome.snapshot, outcome.finished),
        (between, Some(between))
    );
    assert_ne!(scene.run().await.snapshot, between);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_disks_that_were_written_are_compared_by_digests() {
    let scene = Scene::set(&["a.img", "b.img"]).await;
    for disk in [0, 1] {
        scene.make(disk, 4 * MIB);
    }
    scene.run().await;
    scene.write(0, 0, &[1; 4096]);
    scene.write(1, 0, &[1; 4096]);
    let cancellation = Cancellation::new();
    let error = scene
        .replication()
        .parallel_disks(1)
        .cancelled_by(&cancellation)
        .progress(once_written(&cancellation))
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, ReplicateError::Cancelled));
    let pending = scene.state().pending.unwrap();
    assert_eq!(pending.dirty.len(), 1);
    let dirty = pending.dirty.first().unwrap().clone();
    scene.delete(pending.snapshot.unwrap()).await;
    let outcome = scene.replication().run().await.unwrap();
    scene.check_files(outcome.snapshot).await;
    for disk in &outcome.disks {
        let expected = if disk.name == dirty {
            How::Digests
        } else {
            How::Incremental
        };
        assert_eq!(disk.how, expected, "{}", disk.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_first_copy_goes_on_by_digests_and_skips_no_zeros() {
    let scene = Scene::with_disk(16 * MIB).await;
    let first = scene.run_until_written().await;
    // What was written once becomes zero.
    scene.write(0, 0, &vec![0; 1 << 20]);
    scene.delete(first).await;
    let outcome = scene.replication().run().await.unwrap();
    scene.check_files(outcome.snapshot).await;
    assert_eq!(outcome.disks[0].how, How::Digests);
    assert_eq!(outcome.disks[0].zeros_skipped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_answer_never_came_is_found_by_its_key() {
    let scene = Scene::with_disk(MIB).await;
    let base = scene.run().await.snapshot;
    let pending = |expires: &str| {
        let text = format!(r#"{{"idempotency_key": "k{expires}", "label": "x"}}"#);
        serde_json::from_str::<SnapshotRequest>(&text).unwrap()
    };
    for made in [true, false] {
        let request = pending(if made { "1" } else { "2" });
        let lost = if made {
            let lost = scene.client.create_snapshot_with(VM, &request).await;
            Some(lost.unwrap().id)
        } else {
            None
        };
        save_pending(&scene, &request, None);
        let outcome = scene.run().await;
        // An old one is not what is wanted now, nor one that was asked for with other words.
        assert_ne!(Some(outcome.snapshot), lost);
        // The base before, and what was lost: nothing is made to be dropped.
        let dropped = 1 + usize::from(made);
        assert_eq!(outcome.dropped.len(), dropped, "{outcome:?}");
        assert!(lost.is_none_or(|lost| outcome.dropped.contains(&lost)));
        assert_ne!(outcome.snapshot, base);
    }
}

/// The answer is still to be made when it is first looked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_still_being_made_is_found_later() {
    let scene = Scene::with_disk(MIB).await;
    scene.run().await;
    let request: SnapshotRequest = serde_json::from_str(r#"{"idempotency_key": "k"}"#).unwrap();
    let lost = scene.client.create_snapshot_with(VM, &request).await;
    let lost = lost.unwrap().id;
    save_pending(&scene, &request, None);
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let stand_in = StandIn::of(&scene.node, move |asked, body| {
        let is_look = asked.starts_with("/api/v1/snapshots");
        let is_first = || looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        Ok(if is_look && is_first() {
            b"[]".to_vec()
        } else {
            body
        })
    })
    .await;
    let client = stand_in.client(&scene.node).await;
    let outcome = scene.replication_from(client).run().await.unwrap();
    assert!(outcome.dropped.contains(&lost), "{outcome:?}");
    scene.check(&outcome).await;
    assert!(scene.state().lost_keys.is_empty());
}

/// What a node refuses once, it would refuse for ever if the same were asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_does_not_stand_in_the_way_of_the_next_run() {
    let scene = Scene::with_config(&["a.img"], "[snapshots]\nmax_snapshots_per_vm = 2\n").await;
    scene.make(0, MIB);
    scene.run().await;
    // There is no toolstack to pause the machine with.
    let run = scene.replication().patience(Duration::ZERO);
    let error = run.consistency(Consistency::Pause).run().await;
    let error = error.unwrap_err();
    let status = error.client_error().and_then(ClientError::status);
    assert_eq!(status.map(|status| status.as_u16()), Some(503), "{error}");
    assert_eq!(scene.state().pending, None);
    scene.run().await;
    let other = scene.client.create_snapshot(VM).await.unwrap();
    let error = scene.replication().run().await.unwrap_err();
    let status = error.client_error().and_then(ClientError::status);
    assert_eq!(status.map(|status| status.as_u16()), Some(409), "{error}");
    assert_eq!(scene.state().pending, None);
    scene.delete(other.id).await;
    scene.run().await;
    // As an earlier release, or one that was killed, has left it.
    let request: SnapshotRequest =
        serde_json::from_str(r#"{"idempotency_key": "k", "consistency": "pause"}"#).unwrap();
    save_pending(&scene, &request, None);
    scene.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_incremental_is_said_of_the_finished_snapshot_too() {
    let (scene, base, between) = trap().await;
    scene.delete(base).await;
    let outcome = scene.replication().run().await.unwrap();
    scene.check_files(outcome.snapshot).await;
    assert_eq!(outcome.finished, Some(between));
    assert_eq!(outcome.disks[0].how, How::Incremental);
    let finished = &outcome.finished_disks[0];
    assert_ne!(finished.how, How::Incremental);
    let warning = outcome.warnings.iter().find(|warning| {
        ["a.img", &between.to_string(), &finished.how.to_string()]
            .iter()
            .all(|part| warning.contains(*part))
    });
    assert!(warning.is_some_and(|warning| warning.contains(&finished.why)));
    // A run that begins anew has nothing to say.
    assert!(scene.run().await.finished_disks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_is_refused_now_is_forgotten() {
    let scene = Scene::with_disk(MIB).await;
    scene.run().await;
    let request: SnapshotRequest =
        serde_json::from_str(r#"{"idempotency_key": "k", "disks": ["gone.img"]}"#).unwrap();
    save_pending(&scene, &request, None);
    scene.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_which_nothing_was_written_is_dropped() {
    let scene = Scene::with_disk(MIB).await;
    scene.run().await;
    let request: SnapshotRequest = serde_json::from_str(r#"{"idempotency_key": "k"}"#).unwrap();
    let lost = scene
        .client
        .create_snapshot_with(VM, &request)
        .await
        .unwrap();
    save_pending(&scene, &request, Some(lost.id));
    let outcome = scene.run().await;
    assert!(outcome.dropped.contains(&lost.id));
    assert_eq!(outcome.disks[0].how, How::Incremental);
}

fn save_pending(scene: &Scene, request: &SnapshotRequest, snapshot: Option<Uuid>) {
    let file = StateFile::open(scene.state_path()).unwrap();
    let mut state = file.load().unwrap().unwrap();
    state.pending = Some(Pending {
        request: request.clone(),
        snapshot,
        dirty: [].into(),
        seen: [].into(),
    });
    file.save(&state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_machine_or_a_newer_release_is_refused() {
    let scene = Scene::with_disk(MIB).await;
    scene.run().await;
    // Its vm.cfg is a copy, as people make them.
    let other = "0004fb00000600000000000000000002";
    scene
        .node
        .vm_cfg(0, other, &format!("name = '{VM}'\ndisk = []\n"));
    let error = Replication::of(other)
        .from(scene.client.clone())
        .state(StateFile::open(scene.state_path()).unwrap())
        .to_files(scene.replicas())
        .run()
        .await
        .unwrap_err();
    assert!(matches!(&error, ReplicateError::OtherMachine { found, .. } if found == VM));
    let mut state = ReplicaState::new(VM);
    state.version += 1;
    let error = Replication::of(VM)
        .from(scene.client.clone())
        .state(InMemory::new(Some(state)))
        .to_files(scene.replicas())
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("newer release"), "{error}");
    assert_eq!(scene.snapshots().await.len(), 1);
}

/// A state whose saves are counted, and fail from one of them on.
struct Failing {
    inner: InMemory,
    left: std::sync::atomic::AtomicUsize,
}

impl StateStore for &'static Failing {
    fn load(&self) -> std::io::Result<Option<ReplicaState>> {
        self.inner.load()
    }
    fn save(&self, state: &ReplicaState) -> std::io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        let more = self
            .left
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        more.map_err(|_| std::io::Error::other("no room for the state"))?;
        self.inner.save(state)
    }
    fn name(&self) -> String {
        "a failing store".to_owned()
    }
}

/// A run is cut off at each of its saves, as by a kill before it. Then one goes through.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_save_is_the_last_the_next_run_ends_well() {
    let scene = Scene::with_disk(4 * MIB).await;
    let mut state = None;
    let mut saves = 0;
    for round in 0_u8.. {
        scene.write(0, u64::from(round) * 4096, &[round + 1; 4096]);
        let failing: &'static Failing = Box::leak(Box::new(Failing {
            inner: InMemory::new(state.clone()),
            left: saves.into(),
        }));
        let run = || {
            Replication::of(VM)
                .from(scene.client.clone())
                .to_files(scene.replicas())
        };
        let ended = run().state(failing).run().await;
        let left = failing.inner.state();
        scene.write(0, 8192, &[round; 4096]);
        let store = Arc::new(InMemory::new(left));
        let outcome = run().state(Arc::clone(&store)).run().await.unwrap();
        scene.check_files(outcome.snapshot).await;
        assert_eq!(scene.snapshots().await, [outcome.snapshot], "save {saves}");
        state = store.state();
        if ended.is_ok() {
            break;
        }
        assert!(matches!(ended, Err(ReplicateError::State(_))));
        saves += 1;
    }
    assert!(saves >= 5, "{saves} saves make a run");
}

/// Files that were removed or cut by hand are made as large as the disk again, and then the run ends:
/// from their size alone the next one must not take them for the base.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_found_wrong_stays_so_whichever_save_is_the_last() {
    let scene = Scene::with_disk(4 * MIB).await;
    let store = Arc::new(InMemory::default());
    let run = || {
        Replication::of(VM)
            .from(scene.client.clone())
            .to_files(scene.replicas())
    };
    run().state(Arc::clone(&store)).run().await.unwrap();
    for saves in 0.. {
        let replica = scene.replica("a.img");
        if saves % 2 == 0 {
            std::fs::remove_file(&replica).unwrap();
        } else {
            let file = std::fs::File::options().write(true).open(&replica).unwrap();
            file.set_len(MIB).unwrap();
        }
        let failing: &'static Failing = Box::leak(Box::new(Failing {
            inner: InMemory::new(store.state()),
            left: saves.into(),
        }));
        let ended = run().state(failing).run().await;
        store.save(&failing.inner.state().unwrap()).unwrap();
        let outcome = run().state(Arc::clone(&store)).run().await.unwrap();
        println!("{saves}: {ended:?}, then {:?}", outcome.disks[0].how);
        scene.check_files(outcome.snapshot).await;
        if ended.is_ok() {
            assert!(saves >= 5);
            return;
        }
    }
}

/// The same of a target that does not tell whether somebody else has written to it: once it is as
/// large as the disk again, the state alone says that it was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_another_size_stays_suspect_whichever_save_is_the_last() {
    let scene = Scene::with_disk(4 * MIB).await;
    let run = |state: Arc<InMemory>, target: &Arc<Memory>| {
        let target: Arc<dyn Target> = Arc::<Memory>::clone(target);
        Replication::of(VM)
            .from(scene.client.clone())
            .state(state)
            .target("a.img", target)
    };
    let store = Arc::new(InMemory::default());
    let whole = Arc::new(Memory::default());
    run(Arc::clone(&store), &whole).run().await.unwrap();
    for saves in 0.. {
        let other = Arc::new(Memory::from(vec![1; 1 << 20]));
        let failing: &'static Failing = Box::leak(Box::new(Failing {
            inner: InMemory::new(store.state()),
            left: saves.into(),
        }));
        let target: Arc<dyn Target> = Arc::<Memory>::clone(&other);
        let ended = Replication::of(VM)
            .from(scene.client.clone())
            .state(failing)
            .target("a.img", target)
            .run()
            .await;
        store.save(&failing.inner.state().unwrap()).unwrap();
        run(Arc::clone(&store), &other).run().await.unwrap();
        let truth = std::fs::read(&scene.disks[0]).unwrap();
        assert!(other.bytes() == truth, "after {saves} saves: {ended:?}");
        if ended.is_ok() {
            assert!(saves >= 5);
            return;
        }
    }
}

/// The node made it, and its answer was lost: the run that fails for that leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_gets_no_answer_to_its_request_finds_what_it_made() {
    let scene = Scene::with_disk(MIB).await;
    let base = scene.run().await.snapshot;
    let creates = format!("/api/v1/vms/{VM}/snapshots");
    let stand_in = StandIn::of(&scene.node, move |asked, body| {
        if asked.split('?').next() == Some(&*creates) {
            return Err(503);
        }
        Ok(body)
    })
    .await;
    let client = stand_in.client(&scene.node).await;
    let run = scene.replication_from(client).patience(Duration::ZERO);
    let error = run.run().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(scene.snapshots().await, [base]);
    assert!(scene.state().lost_keys.is_empty());
    scene.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_snapshot_that_is_said_to_be_the_base_is_refused_and_not_left() {
    let scene = Scene::with_disk(MIB).await;
    let base = scene.run().await.snapshot;
    scene.write(0, 0, &[1; 4096]);
    let creates = format!("/api/v1/vms/{VM}/snapshots");
    let stand_in = StandIn::of(&scene.node, move |asked, body| {
        if asked.split('?').next() != Some(&*creates) {
            return Ok(body);
        }
        let text = String::from_utf8(body).unwrap();
        let made: serde_json::Value = serde_json::from_str(&text).unwrap();
        let made = made["id"].as_str().unwrap();
        Ok(text.replace(made, &base.to_string()).into_bytes())
    })
    .await;
    let run = scene.replication_from(stand_in.client(&scene.node).await);
    let error = run.run().await.unwrap_err().to_string();
    assert!(error.contains("an older one"), "{error}");
    assert_eq!(scene.state().base, Some(base));
    assert_eq!(scene.snapshots().await, [base]);
    assert_eq!(scene.run().await.disks[0].how, How::Incremental);
}

/// The future is dropped, as by a timeout of the caller's.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_is_like_one_that_was_killed() {
    let scene = Scene::with_disk(32 * MIB).await;
    for event in 0..6 {
        scene.write(0, event * MIB, &[7; 8192]);
        let (send, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let progress = move |_: &Event<'_>| {
            let _ = send.send(());
        };
        let mut run = Box::pin(scene.replication().progress(progress).run());
        let mut ended = false;
        for _ in 0..=event {
            tokio::select! {
                _ = &mut run => ended = true,
                _ = seen.recv() => {}
            }
            if ended {
                break;
            }
        }
        drop(run);
        // What it was writing ends soon, and lets go of the state.
        super::super::support::wait::until("the state is free", || {
            StateFile::open(scene.state_path()).is_ok()
        });
        scene.run().await;
    }
}
