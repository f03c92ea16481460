//! Targets and states that somebody else has touched, or that belong to something else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use coriolis_ovm_exporter::client::replicate::{
    Cancellation, How, InMemory, Outcome, ReplicaState, ReplicateError, Replication, StateFile,
    StateStore as _,
};
use coriolis_ovm_exporter::client::target::{Fingerprint, Memory, Target, TargetOptions, open};

use jiff::SignedDuration;

use super::super::comparison::house::{must, text};
use super::super::support::wait;
use super::super::targets::ground::Loop;
use super::scene::{MIB, Scene, VM, changed, once_written};

const UUID: &str = "0004fb00-0006-0000-0000-000000000001";

/// Replicas on XFS, which gives room back when a file is closed.
fn on_xfs(scene: &Scene) -> PathBuf {
    let folder = scene.node.repositories[0].path().join("replicas");
    fs::create_dir_all(&folder).unwrap();
    folder
}

async fn run_in(scene: &Scene, folder: &Path) -> Outcome {
    let outcome = scene.replication().to_files(folder).run().await.unwrap();
    let snapshot = scene.client.snapshot(VM, outcome.snapshot, None).await;
    for disk in snapshot.unwrap().disks {
        let replica = fs::read(folder.join(&disk.name)).unwrap();
        assert!(replica == fs::read(&disk.path).unwrap(), "{outcome:?}");
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_restored_from_a_backup_is_not_taken_for_the_base() {
    let scene = Scene::with_disk(4 * MIB).await;
    let folder = on_xfs(&scene);
    let replica = folder.join("a.img");
    let backup = scene.folder.path().join("backup.img");
    run_in(&scene, &folder).await;
    for (at, restore) in [
        (0, "into the same file"),
        (MIB, "times and all"),
        (2 * MIB, "as another file"),
        (3 * MIB, "with the times of what was there"),
    ] {
        must(
            "cp",
            &["-a", replica.to_str().unwrap(), backup.to_str().unwrap()],
        );
        scene.write(0, at, &[9; 4096]);
        let outcome = run_in(&scene, &folder).await;
        assert_eq!(outcome.disks[0].how, How::Incremental, "{outcome:?}");
        let (from, to) = (backup.to_str().unwrap(), replica.to_str().unwrap());
        match restore {
            "into the same file" => must("cp", &[from, to]),
            "times and all" => must("cp", &["-a", from, to]),
            "with the times of what was there" => {
                must("touch", &["-r", to, from]);
                must("cp", &["-a", from, to])
            }
            _ => must("cp", &["-a", "--remove-destination", from, to]),
        };
        let outcome = run_in(&scene, &folder).await;
        let disk = &outcome.disks[0];
        assert_eq!(disk.how, How::Digests, "{restore}: {outcome:?}");
        assert!(disk.why.contains("by somebody else"), "{}", disk.why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_or_closes_a_file_changes_nothing() {
    let scene = Scene::with_disk(4 * MIB).await;
    let folder = on_xfs(&scene);
    run_in(&scene, &folder).await;
    for round in 1..5 {
        scene.write(0, round * 8192, &[1; 4096]);
        must("sync", &[]);
        fs::read(folder.join("a.img")).unwrap();
        drop(open(&folder.join("a.img"), &TargetOptions::default()).unwrap());
        let outcome = run_in(&scene, &folder).await;
        assert_eq!(outcome.disks[0].how, How::Incremental, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_after_an_interrupted_run_is_seen() {
    let scene = Scene::with_disk(4 * MIB).await;
    scene.run().await;
    let backup = scene.folder.path().join("backup.img");
    fs::copy(scene.replica("a.img"), &backup).unwrap();
    // It is in the base, and not in the backup.
    scene.write(0, 3 * MIB, &[3; 4096]);
    scene.run().await;
    scene.write(0, 0, &[1; 4096]);
    scene.run_until_written().await;
    fs::rename(&backup, scene.replica("a.img")).unwrap();
    let run = scene.replication().catch_up(false);
    let outcome = run.run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    scene.check(&outcome).await;
}

/// What tells whether a file is still as it was left was taken out of the state, or was never in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_does_not_say_what_a_file_looked_like_is_not_believed() {
    let scene = Scene::with_disk(4 * MIB).await;
    scene.run().await;
    let silence = |disk: bool, seen: bool| {
        let file = StateFile::open(scene.state_path()).unwrap();
        let mut state = file.load().unwrap().unwrap();
        if disk {
            let known = state.disks.get_mut("a.img").unwrap();
            assert!(known.fingerprint.take().is_some());
        }
        if seen {
            let pending = state.pending.as_mut().unwrap();
            assert!(pending.seen.remove("a.img").is_some());
        }
        file.save(&state).unwrap();
    };
    // Where the next run writes nothing.
    let spoil = || changed(&scene.replica("a.img"), |bytes| bytes[3 << 20] ^= 1);
    spoil();
    silence(true, false);
    scene.write(0, 0, &[1; 4096]);
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    let why = &outcome.disks[0].why;
    assert!(why.contains("does not say what"), "{why}");
    scene.check(&outcome).await;
    scene.write(0, 0, &[2; 4096]);
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Incremental, "{outcome:?}");

    // The same of what an interrupted run has left.
    scene.write(0, 0, &[3; 4096]);
    scene.run_until_written().await;
    spoil();
    silence(false, true);
    let outcome = scene.replication().catch_up(false).run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    scene.check(&outcome).await;
}

/// The backup is of an older snapshot, and the run that was killed has not written where it differs
/// from the base.
async fn interrupted_with_a_backup() -> (Scene, PathBuf, PathBuf) {
    let scene = Scene::with_disk(4 * MIB).await;
    let folder = on_xfs(&scene);
    let (replica, backup) = (folder.join("a.img"), scene.folder.path().join("backup"));
    run_in(&scene, &folder).await;
    fs::copy(&replica, &backup).unwrap();
    scene.write(0, 3 * MIB, &[3; 4096]);
    run_in(&scene, &folder).await;
    scene.write(0, 0, &[1; 4096]);
    let cancellation = Cancellation::new();
    let run = scene.replication().to_files(&folder);
    let run = run.cancelled_by(&cancellation);
    let run = run.progress(once_written(&cancellation));
    let error = run.run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Cancelled), "{error}");
    let pending = scene.state().pending.unwrap();
    assert!(pending.dirty.contains("a.img"));
    let now = Fingerprint::of(&fs::metadata(&replica).unwrap());
    assert_eq!(pending.seen["a.img"], now);
    (scene, replica, backup)
}

#[tokio::test(flavor = "multi_thread")]
async fn older_bytes_in_the_same_file_after_an_interrupted_run_are_seen() {
    let (scene, replica, backup) = interrupted_with_a_backup().await;
    must("cp", &[text(&backup), text(&replica)]);
    // That was some time later.
    let file = StateFile::open(scene.state_path()).unwrap();
    let mut state = file.load().unwrap().unwrap();
    let pending = state.pending.as_mut().unwrap();
    let changed = pending.seen.get_mut("a.img").unwrap().changed.as_mut();
    *changed.unwrap() -= SignedDuration::from_mins(1);
    file.save(&state).unwrap();
    drop(file);
    let outcome = run_in(&scene, replica.parent().unwrap()).await;
    assert!(outcome.finished.is_some());
    let finished = &outcome.finished_disks[0];
    assert_eq!(finished.how, How::Digests, "{outcome:?}");
    assert!(finished.why.contains("by somebody else"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_that_got_the_number_of_the_one_it_replaces_is_seen() {
    let (scene, replica, backup) = interrupted_with_a_backup().await;
    let number = fs::metadata(&replica).unwrap().ino();
    fs::remove_file(&replica).unwrap();
    must("sync", &[]);
    // The file system gives the number to one of those that are made next.
    let folder = replica.parent().unwrap();
    let made: Vec<PathBuf> = (0..1000).map(|at| folder.join(format!("f{at}"))).collect();
    let mut found = None;
    for path in &made {
        fs::copy(&backup, path).unwrap();
        if fs::metadata(path).unwrap().ino() == number {
            fs::rename(path, &replica).unwrap();
            found = Some(());
            break;
        }
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(0)
            .unwrap();
    }
    found.expect("XFS gives numbers again");
    let outcome = run_in(&scene, folder).await;
    let finished = &outcome.finished_disks[0];
    assert_eq!(finished.how, How::Digests, "{outcome:?}");
}

/// A file, the first write to which lasts until the run has looked at it after that.
struct Watched {
    file: Arc<dyn Target>,
    state: PathBuf,
    is_seen: AtomicBool,
}

impl Watched {
    fn is_seen_as_it_is(&self) -> bool {
        let state = fs::read(&self.state).unwrap();
        let state: ReplicaState = serde_json::from_slice(&state).unwrap();
        let seen = state.pending.unwrap().seen.remove("a.img");
        seen == self.file.fingerprint().unwrap()
    }
}

impl Target for Watched {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn prepare(&self, disk: u64) -> io::Result<()> {
        self.file.prepare(disk)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)?;
        if !self.is_seen.swap(true, SeqCst) {
            wait::until("the run looks again", || self.is_seen_as_it_is());
        }
        Ok(())
    }
    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.zero(offset, length)
    }
    fn flush(&self) -> io::Result<()> {
        self.file.flush()
    }
    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        self.file.fingerprint()
    }
    fn name(&self) -> String {
        self.file.name()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_looks_at_its_targets_while_it_writes() {
    let scene = Scene::with_disk(MIB).await;
    let target = Arc::new(Watched {
        file: open(&scene.replica("a.img"), &TargetOptions::default()).unwrap(),
        state: scene.state_path(),
        is_seen: AtomicBool::new(false),
    });
    let to_it: Arc<dyn Target> = Arc::<Watched>::clone(&target);
    scene
        .replication()
        .target("a.img", to_it)
        .run()
        .await
        .unwrap();
    assert!(target.is_seen.load(SeqCst));
}

/// Under the kernel's names for them lie other devices after each start.
#[tokio::test(flavor = "multi_thread")]
async fn another_device_under_the_same_name_is_left_alone() {
    let scene = Scene::with_disk(4 * MIB).await;
    let image = |name: &str| scene.folder.path().join(name);
    let devices = ["one", "two"].map(|name| Loop::new(&image(name), 8 * MIB, &[]));
    fs::write(image("two"), vec![7; 8 << 20]).unwrap();
    let name = image("sdb");
    let point_to = |device: &Loop| {
        let _ = fs::remove_file(&name);
        symlink(&device.device, &name).unwrap();
    };
    let run = || {
        let name = name.clone();
        let open = move |_: &_| open(&name, &TargetOptions::default()).map(Some);
        Replication::of(VM)
            .from(scene.client.clone())
            .state(StateFile::open(scene.state_path()).unwrap())
            .targets(open)
    };
    let is_right = |image: &Path| {
        let truth = fs::read(&scene.disks[0]).unwrap();
        assert!(fs::read(image).unwrap()[..truth.len()] == truth);
    };
    point_to(&devices[0]);
    run().overwrite().run().await.unwrap();
    scene.write(0, 0, &[1; 4096]);
    let outcome = run().run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Incremental, "{outcome:?}");
    is_right(&image("one"));
    // Another disk of the same size.
    point_to(&devices[1]);
    scene.write(0, 0, &[2; 4096]);
    let error = run().run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Occupied { .. }), "{error}");
    assert!(
        fs::read(image("two"))
            .unwrap()
            .iter()
            .all(|byte| *byte == 7)
    );
    let outcome = run().overwrite().run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    is_right(&image("two"));
    // The same disk, onto which somebody has put something else.
    let mut bytes = vec![0; 1 << 20];
    bytes[..4096].fill(2);
    let file = File::options()
        .write(true)
        .open(&devices[1].device)
        .unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let outcome = run().run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    is_right(&image("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_the_same_whatever_it_is_called() {
    let scene = Scene::with_disk(2 * MIB).await;
    let disk = scene.disks[0].display();
    let text = format!("name = 'web'\nuuid = '{UUID}'\ndisk = ['file:{disk},xvda,w']\n");
    scene.node.vm_cfg(0, VM, &text);
    for (round, name) in [VM, "web", UUID, VM].into_iter().enumerate() {
        let outcome = Replication::of(name)
            .from(scene.client.clone())
            .state(StateFile::open(scene.state_path()).unwrap())
            .to_files(scene.replicas())
            .run()
            .await
            .unwrap();
        let how = if round == 0 {
            How::Full
        } else {
            How::Incremental
        };
        assert_eq!((outcome.vm.as_str(), outcome.disks[0].how), (VM, how));
        scene.check(&outcome).await;
        assert_eq!(scene.state().vm, VM);
        // As an older release may have kept it.
        let file = StateFile::open(scene.state_path()).unwrap();
        let mut state = file.load().unwrap().unwrap();
        state.vm = name.to_owned();
        file.save(&state).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_leads_elsewhere_now_is_noticed() {
    let scene = Scene::with_disk(2 * MIB).await;
    let link = scene.folder.path().join("link");
    symlink(scene.replicas(), &link).unwrap();
    run_in(&scene, &link).await;
    let other = scene.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(scene.replica("a.img"), other.join("a.img")).unwrap();
    scene.write(0, 0, &[5; 4096]);
    run_in(&scene, &link).await;
    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    let error = scene.replication().to_files(&link).run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Occupied { .. }), "{error}");
    let run = scene.replication().to_files(&link).overwrite();
    assert_eq!(run.run().await.unwrap().disks[0].how, How::Digests);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_a_target_already_is_overwritten_only_if_that_is_said() {
    let scene = Scene::with_disk(2 * MIB).await;
    fs::write(scene.replica("a.img"), b"somebody's").unwrap();
    let error = scene.replication().run().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("replicas/a.img") && text.contains("--overwrite"),
        "{text}"
    );
    assert_eq!(fs::read(scene.replica("a.img")).unwrap(), b"somebody's");
    assert!(scene.snapshots().await.is_empty());
    // Of a fixed size, as a device is.
    let memory = Arc::new(Memory::default());
    memory.prepare(4 * MIB).unwrap();
    memory.write_at(0, &[1]).unwrap();
    let target: Arc<dyn Target> = memory;
    let run = Replication::of(VM).from(scene.client.clone());
    let run = run.state(InMemory::default()).target("a.img", target);
    let error = run.run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Occupied { .. }), "{error}");
    let outcome = scene.replication().overwrite().run().await.unwrap();
    scene.check(&outcome).await;
    // From then on it is the replica's.
    scene.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_over_a_source_a_snapshot_or_the_state() {
    let scene = Scene::with_disk(2 * MIB).await;
    let before = fs::read(&scene.disks[0]).unwrap();
    let among = scene.node.repositories[0]
        .path()
        .join("CoriolisSnapshots/a.img");
    for (path, said) in [
        (scene.disks[0].clone(), "a disk of the machine itself"),
        (scene.state_path(), "where the state is kept"),
        (among.clone(), "among the snapshots"),
    ] {
        let run = scene.replication().overwrite();
        let run = run.targets(move |_| open(&path, &TargetOptions::default()).map(Some));
        let error = run.run().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(fs::read(&scene.disks[0]).unwrap() == before && !among.exists());
    assert!(scene.snapshots().await.is_empty());
    scene.run().await;
}
