//! Random guests, run after run; some runs are cancelled at any moment.

use std::fs;
use std::time::Duration;

use coriolis_ovm_exporter::client::replicate::{Cancellation, How, ReplicateError};
use coriolis_ovm_exporter::protocol::Refine;
use coriolis_ovm_exporter::protocol::delta::Compression;
use rand::RngExt as _;

use super::super::comparison::guest::Guest;
use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::scene::{MIB, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_random_guests() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let scene = Scene::set(&["a.img", "b.img"]).await;
    let mut guests: Vec<Guest> = scene
        .disks
        .iter()
        .map(|disk| Guest::new(Kind::Xfs, disk.clone(), Seed(random.random()).random()))
        .collect();
    let first = scene.run().await;
    for disk in &first.disks {
        assert_eq!(disk.how, How::Full);
        assert!(disk.zeros <= 4096, "the file was just made: {disk:?}");
        assert_eq!(disk.data + disk.zeros + disk.zeros_skipped, disk.size);
    }
    for _ in 0..count(6, 150) {
        for guest in &mut guests {
            guest.work(None);
        }
        let refine = Refine::ALL[random.random_range(0..3)];
        let compression = Compression::ALL[random.random_range(0..3)];
        let outcome = scene
            .replication()
            .refine(refine)
            .compression(compression)
            .streams(random.random_range(1..4))
            .least_segment(MIB)
            .verified()
            .run()
            .await
            .unwrap();
        let stories: Vec<_> = guests.iter().map(|guest| &guest.story).collect();
        println!("{refine:?} {compression:?}: {stories:?}");
        scene.check(&outcome).await;
        for disk in &outcome.disks {
            assert_eq!((disk.how, disk.checked), (How::Incremental, Some(true)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_at_any_moment_the_next_run_ends_well() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = seed.random();
    let scene = Scene::set(&["a.img", "b.img"]).await;
    let mut guests: Vec<Guest> = scene
        .disks
        .iter()
        .map(|disk| Guest::new(Kind::Xfs, disk.clone(), Seed(random.random()).random()))
        .collect();
    let (mut cancelled, mut written) = (0, 0);
    for _ in 0..count(10, 300) {
        for guest in &mut guests {
            guest.work(scene.base_file(guest.path()).as_deref());
        }
        let cancellation = Cancellation::new();
        let run = scene
            .replication()
            .refine(Refine::Blocks)
            .least_segment(MIB)
            .cancelled_by(&cancellation);
        let later = Duration::from_micros(random.random_range(0..200_000));
        let (ended, ()) = tokio::join!(run.run(), async {
            tokio::time::sleep(later).await;
            cancellation.cancel();
        });
        match ended {
            Ok(outcome) => scene.check(&outcome).await,
            Err(ReplicateError::Cancelled) => {
                cancelled += 1;
                let pending = scene.state().pending;
                written += u32::from(pending.is_some_and(|pending| !pending.dirty.is_empty()));
            }
            Err(error) => panic!("{error}"),
        }
        if random.random_bool(0.5) {
            let refined = scene.replication().refine(Refine::Blocks);
            scene.check(&refined.run().await.unwrap()).await;
        }
    }
    println!("{cancelled} were cancelled, {written} of them while they wrote");
    scene.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_was_deleted_behind_its_back() {
    let scene = Scene::set(&["a.img", "b #?%c.img"]).await;
    scene.make(0, 8 * MIB);
    scene.make(1, 5 * MIB + 777);
    let base = scene.run().await.snapshot;
    scene.write(0, MIB, &[9; 4096]);
    scene.delete(base).await;
    let outcome = scene.run().await;
    for disk in &outcome.disks {
        assert_eq!(disk.how, How::Digests);
        assert!(disk.why.contains(&base.to_string()), "{}", disk.why);
    }
    // A megabyte holds what differs.
    assert_eq!(outcome.disks[0].data, MIB);
    assert_eq!(outcome.disks[1].data + outcome.disks[1].zeros, 0);
    assert_eq!(outcome.previous, Some(base));
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_come_and_go() {
    let scene = Scene::set(&["a.img", "b.img", "c.img"]).await;
    for disk in 0..3 {
        scene.make(disk, 2 * MIB);
    }
    scene.attach(&scene.disks[..2]);
    scene.run().await;
    scene.write(0, 4096, &[1; 100]);
    scene.attach(&scene.disks[1..]);
    let outcome = scene.run().await;
    assert_eq!(outcome.forgotten, ["a.img"]);
    let hows: Vec<How> = outcome.disks.iter().map(|disk| disk.how).collect();
    assert_eq!(hows, [How::Incremental, How::Full]);
    assert!(
        outcome.disks[1].why.contains("not copied before"),
        "{outcome:?}"
    );
    // It comes back, changed meanwhile, over what its target holds.
    scene.attach(&scene.disks);
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Full);
    assert!(outcome.disks[0].why.contains("no such disk"));
    let only = scene.replication().disks(["b.img"]).run().await.unwrap();
    scene.check(&only).await;
    assert_eq!(only.forgotten, ["a.img", "c.img"]);
}

/// Another file under the name of a disk, and of the same size: it is not brought forward from what
/// it never was.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_means_another_disk_now() {
    let scene = Scene::set(&["a.img", "x.img"]).await;
    for disk in [0, 1] {
        scene.make(disk, 3 * MIB);
    }
    let folder = scene.disks[0].parent().unwrap().join("other");
    fs::create_dir(&folder).unwrap();
    let other = folder.join("a.img");
    fs::rename(&scene.disks[1], &other).unwrap();
    scene.attach(&scene.disks[..1]);
    scene.run().await;
    scene.attach(std::slice::from_ref(&other));
    let outcome = scene.run().await;
    let disk = &outcome.disks[0];
    assert_eq!((disk.name.as_str(), disk.how), ("a.img", How::Digests));
    assert!(disk.why.contains("another file now"), "{}", disk.why);
    // Two of one name get other names, and targets of their own.
    scene.attach(&[scene.disks[0].clone(), other]);
    let outcome = scene.run().await;
    assert!(outcome.disks.iter().all(|disk| disk.how == How::Full));
    assert_eq!(outcome.forgotten, ["a.img"]);
}
