//! Targets that are not what they should be.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use coriolis_ovm_exporter::client::replicate::{
    How, ReplicateError, Replication, StateFile, verify,
};
use coriolis_ovm_exporter::client::target::{Memory, Target, TargetOptions, open};

use super::super::comparison::house::must;
use super::super::streams::scene::assert_same;
use super::super::targets::ground::{Loop, Mount};
use super::scene::{MIB, Scene, VM, changed};

/// Passes everything on to memory, but for what a test wants otherwise.
#[derive(Default)]
struct Strange {
    memory: Memory,
    /// Cannot grow past this, where it is not 0.
    room: AtomicU64,
    /// Writes that end behind this fail, where it is not 0.
    full: AtomicU64,
    /// Bytes at this offset are not kept, where it is not 0.
    loses: AtomicU64,
    blind: bool,
    claims_zero: bool,
}

impl Strange {
    fn has_room(&self, offset: u64, length: u64) -> io::Result<()> {
        let full = self.full.load(SeqCst);
        if full != 0 && offset + length > full {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("tape: no room at {offset}"),
            ));
        }
        Ok(())
    }
}

impl Target for Strange {
    fn size(&self) -> io::Result<u64> {
        self.memory.size()
    }
    fn prepare(&self, disk: u64) -> io::Result<()> {
        match self.room.load(SeqCst) {
            0 => {}
            room if disk > room => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("tape: it holds {room} bytes, the disk has {disk}"),
                ));
            }
            _ => {}
        }
        self.memory.prepare(disk)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.has_room(offset, bytes.len() as u64)?;
        self.memory.write_at(offset, bytes)?;
        let loses = self.loses.load(SeqCst);
        if loses != 0 && (offset..offset + bytes.len() as u64).contains(&loses) {
            let mut byte = [0];
            self.memory.read_at(loses, &mut byte)?;
            self.memory.write_at(loses, &[!byte[0]])?;
        }
        Ok(())
    }
    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.has_room(offset, length)?;
        self.memory.zero(offset, length)
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.blind {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.memory.read_at(offset, buffer)
    }
    fn readable(&self) -> bool {
        !self.blind
    }
    fn zeroed(&self) -> bool {
        self.claims_zero
    }
    fn name(&self) -> String {
        "tape".to_owned()
    }
}

fn to(scene: &Scene, target: &Arc<Strange>) -> Replication {
    let target: Arc<Strange> = Arc::clone(target);
    Replication::of(VM)
        .from(scene.client.clone())
        .state(StateFile::open(scene.state_path()).unwrap())
        .target("a.img", target)
}

async fn same(scene: &Scene, target: &Strange) {
    assert_eq!(target.memory.bytes(), fs::read(&scene.disks[0]).unwrap());
    assert_eq!(scene.snapshots().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_small_is_said_before_anything_is_written() {
    let scene = Scene::with_disk(4 * MIB).await;
    let target = Arc::new(Strange::default());
    to(&scene, &target).run().await.unwrap();
    let before = scene.state();
    scene.write(0, 5 * MIB, &[1; 4096]);
    target.room.store(4 * MIB, SeqCst);
    let error = to(&scene, &target).run().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("a.img: tape") && text.contains("4194304"),
        "{text}"
    );
    assert_eq!(scene.state(), before, "nothing is left of it");
    assert_eq!(scene.snapshots().await, [before.base.unwrap()]);
    target.room.store(0, SeqCst);
    let outcome = to(&scene, &target).run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Incremental);
    same(&scene, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_full_is_said_with_its_offset_and_goes_on_with_room() {
    let scene = Scene::with_disk(8 * MIB).await;
    let target = Arc::new(Strange::default());
    target.full.store(2 * MIB, SeqCst);
    for _ in 0..2 {
        let error = to(&scene, &target).run().await.unwrap_err();
        let ReplicateError::Target {
            disk,
            target,
            offset,
            source,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((disk.as_str(), target.as_str()), ("a.img", "tape"));
        assert!(offset.is_some() && source.kind() == io::ErrorKind::StorageFull);
        assert_eq!(scene.state().base, None);
    }
    target.full.store(0, SeqCst);
    let outcome = to(&scene, &target).run().await.unwrap();
    assert!(outcome.finished.is_some());
    same(&scene, &target).await;
}

/// What its file system has taken and the storage below it has not stays in memory as if it were
/// there: a comparison has to look at what is there.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_storage_has_lost_are_fetched_again_though_memory_has_them() {
    let scene = Scene::with_disk(32 * MIB).await;
    let storage = Mount::memory(&scene.folder, "tmpfs", "size=10m");
    let device = Loop::new(&storage.point.join("image"), 64 * MIB, &[]);
    must("mkfs.ext4", &["-q", "-O", "^has_journal", device.name()]);
    let mount = Mount::new(&scene.folder.path().join("mount"), &[device.name()]);
    let run = || scene.replication().to_files(&mount.point);
    let error = run().run().await.unwrap_err();
    assert!(error.to_string().contains("stable storage"), "{error}");
    let to = storage.point.to_str().unwrap();
    must("mount", &["-o", "remount,size=100m", to]);
    let outcome = run().catch_up(false).run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Digests, "{outcome:?}");
    drop(mount);
    let mount = Mount::new(&scene.folder.path().join("again"), &[device.name()]);
    let there = fs::read(mount.point.join("a.img")).unwrap();
    let snapshot = scene.client.snapshot(VM, outcome.snapshot, None).await;
    let truth = fs::read(&snapshot.unwrap().disks[0].path).unwrap();
    assert_same(&there, &truth, "a.img");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_written_or_is_missing_is_said() {
    let scene = Scene::with_disk(MIB).await;
    let path = scene.replica("a.img");
    fs::create_dir(&path).unwrap();
    let error = scene.replication().run().await.unwrap_err();
    assert!(error.to_string().contains("a directory"), "{error}");
    let error = Replication::of(VM)
        .from(scene.client.clone())
        .state(StateFile::open(scene.state_path()).unwrap())
        .target("b.img", Arc::new(Memory::default()))
        .run()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ReplicateError::NoTarget { disk } if disk == "a.img"),
        "{error}"
    );
    assert_eq!(scene.snapshots().await, [] as [uuid::Uuid; 0]);
    assert_eq!(scene.state().pending, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_read_only_is_said() {
    let scene = Scene::with_disk(MIB).await;
    let before = scene.run().await;
    let state = scene.state();
    // On a file system that knows the flag.
    let path = scene.node.repositories[0].path().join("replica.img");
    fs::copy(scene.replica("a.img"), &path).unwrap();
    must("chattr", &["+i", path.to_str().unwrap()]);
    let to_it = path.clone();
    let run = scene
        .replication()
        .targets(move |_| open(&to_it, &TargetOptions::default()).map(Some));
    let error = run.run().await.unwrap_err();
    must("chattr", &["-i", path.to_str().unwrap()]);
    let text = error.to_string();
    assert!(
        text.starts_with("a.img: ") && text.contains("replica.img") && text.contains("lsattr"),
        "{text}"
    );
    assert_eq!(scene.state(), state);
    assert_eq!(scene.snapshots().await, [before.snapshot]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_keep_what_is_written_is_found_out() {
    let scene = Scene::with_disk(4 * MIB).await;
    let target = Arc::new(Strange::default());
    to(&scene, &target).verified().run().await.unwrap();
    let base = scene.state().base;
    scene.write(0, MIB, &[5; 4096]);
    target.loses.store(MIB + 7, SeqCst);
    let error = to(&scene, &target).verified().run().await.unwrap_err();
    assert!(
        matches!(&error, ReplicateError::Mismatch { differing: 1, first, .. } if *first == MIB),
        "{error}"
    );
    let state = scene.state();
    assert_eq!(state.base, base);
    assert!(state.suspect.contains_key("a.img"));
    // Without a check it would go unseen by a delta; it is not trusted, so digests see it.
    target.loses.store(0, SeqCst);
    let events = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hows = Arc::clone(&events);
    to(&scene, &target)
        .progress(
            move |event: &coriolis_ovm_exporter::client::replicate::Event<'_>| {
                if let coriolis_ovm_exporter::client::replicate::Event::DiskStarted {
                    how, ..
                } = event
                {
                    hows.lock().unwrap().push(*how);
                }
            },
        )
        .run()
        .await
        .unwrap();
    assert_eq!(*events.lock().unwrap(), [How::Digests, How::Incremental]);
    same(&scene, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_read_is_copied_in_full() {
    let scene = Scene::with_disk(4 * MIB).await;
    let target = Arc::new(Strange {
        blind: true,
        ..Strange::default()
    });
    let outcome = to(&scene, &target).verified().run().await.unwrap();
    assert_eq!(outcome.disks[0].checked, Some(false));
    scene.delete(outcome.snapshot).await;
    let outcome = to(&scene, &target).run().await.unwrap();
    assert_eq!(outcome.disks[0].how, How::Full);
    assert_eq!(outcome.disks[0].data + outcome.disks[0].zeros, 4 * MIB);
    same(&scene, &target).await;
}

/// It says that it is large enough, and zero.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_no_room_for_the_zeros_at_the_end_is_no_success() {
    let scene = Scene::with_disk(4 * MIB).await;
    let mut disk = fs::read(&scene.disks[0]).unwrap();
    let data = disk.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(disk.split_off(data + 1).len() > 4096, "it ends in zeros");
    let target = Arc::new(Strange {
        claims_zero: true,
        ..Strange::default()
    });
    target.full.store(4 * MIB - 1, SeqCst);
    let error = to(&scene, &target).run().await.unwrap_err();
    assert!(error.to_string().contains("no room at"), "{error}");
    assert_eq!(scene.state().base, None);
    target.full.store(0, SeqCst);
    to(&scene, &target).run().await.unwrap();
    same(&scene, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_are_written_to_one_that_only_calls_itself_zero() {
    let scene = Scene::with_disk(4 * MIB).await;
    let target = Arc::new(Strange {
        claims_zero: true,
        ..Strange::default()
    });
    let first = to(&scene, &target).run().await.unwrap();
    assert_eq!(first.disks[0].zeros_skipped, 2 * MIB - 4096);
    scene.write(0, 0, &vec![0; 1 << 20]);
    // It still claims to be zero, by a script's mistake.
    let outcome = to(&scene, &target).run().await.unwrap();
    let disk = &outcome.disks[0];
    assert_eq!((disk.how, disk.zeros_skipped), (How::Full, 0));
    assert!(disk.why.contains("is empty, though"), "{}", disk.why);
    same(&scene, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_exchanged_removed_or_cut_are_not_trusted() {
    let scene = Scene::set(&["a.img", "b.img"]).await;
    for disk in [0, 1] {
        scene.make(disk, 3 * MIB);
    }
    scene.run().await;
    let (a, b) = (scene.replica("a.img"), scene.replica("b.img"));
    fs::remove_file(&a).unwrap();
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Full, "{outcome:?}");
    assert_eq!(outcome.disks[1].how, How::Incremental);
    File::options()
        .write(true)
        .open(&b)
        .unwrap()
        .set_len(MIB)
        .unwrap();
    let outcome = scene.run().await;
    assert_eq!(outcome.disks[0].how, How::Incremental);
    assert_eq!(outcome.disks[1].how, How::Digests, "{outcome:?}");
    // To another folder, where they lie exchanged.
    let elsewhere = scene.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&a, elsewhere.join("b.img")).unwrap();
    fs::rename(&b, elsewhere.join("a.img")).unwrap();
    let run = || scene.replication().to_files(&elsewhere);
    let error = run().run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Occupied { .. }), "{error}");
    let outcome = run().overwrite().run().await.unwrap();
    assert!(outcome.disks.iter().all(|disk| disk.how == How::Digests));
    for name in ["a.img", "b.img"] {
        fs::rename(elsewhere.join(name), scene.replica(name)).unwrap();
    }
    scene.check(&outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_target_for_two_disks_is_refused() {
    let scene = Scene::set(&["a.img", "b.img"]).await;
    for disk in [0, 1] {
        scene.make(disk, MIB);
    }
    let target: Arc<dyn Target> = Arc::new(Memory::default());
    let run = Replication::of(VM)
        .from(scene.client.clone())
        .state(StateFile::open(scene.state_path()).unwrap());
    let run = run.target("a.img", Arc::clone(&target));
    let error = run.target("b.img", target).run().await.unwrap_err();
    assert!(error.to_string().contains("same target"), "{error}");
    let path = scene.replica("one");
    let error = scene
        .replication()
        .targets(move |_| open(&path, &TargetOptions::default()).map(Some))
        .run()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ReplicateError::Setup(_)), "{error}");
    assert!(
        text.contains("same target") && !text.contains("(/"),
        "{text}"
    );
    assert_eq!(scene.snapshots().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_the_blocks_that_differ() {
    let scene = Scene::with_disk(5 * MIB).await;
    let snapshot = scene.run().await.snapshot;
    let verified = async || {
        let target = open(&scene.replica("a.img"), &TargetOptions::default()).unwrap();
        let targets = [("a.img".to_owned(), target)];
        let mut found = verify(&scene.client, VM, snapshot, &targets).await.unwrap();
        found.remove(0)
    };
    assert!(verified().await.is_identical());
    changed(&scene.replica("a.img"), |bytes| {
        bytes[1 << 20] ^= 1;
        bytes[(5 << 20) - 1] ^= 1;
    });
    let found = verified().await;
    assert_eq!(found.differing, Some(vec![MIB, 4 * MIB]));
    assert!(!found.is_identical() && found.block == MIB && found.size == 5 * MIB);
    changed(&scene.replica("a.img"), |bytes| bytes.truncate(10));
    let found = verified().await;
    assert!(found.differing.is_none() && !found.is_identical());
    assert!(found.reason.unwrap().contains("10 bytes"));
    let targets = [(
        "b.img".to_owned(),
        Arc::new(Memory::default()) as Arc<dyn Target>,
    )];
    let error = verify(&scene.client, VM, snapshot, &targets)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("b.img"), "{error}");
}

/// The second one cannot be had, since this run has it.
#[tokio::test(flavor = "multi_thread")]
async fn two_names_of_one_file_or_device_are_refused_as_such() {
    let scene = Scene::set(&["a.img", "b.img"]).await;
    for disk in [0, 1] {
        scene.make(disk, 2 * MIB);
    }
    let place = |name: &str| scene.folder.path().join(name);
    fs::write(place("file"), "").unwrap();
    fs::hard_link(place("file"), place("hard")).unwrap();
    std::os::unix::fs::symlink(place("file"), place("soft")).unwrap();
    let device = Loop::new(&place("image"), 4 * MIB, &[]);
    std::os::unix::fs::symlink(&device.device, place("device")).unwrap();
    for (one, other) in [
        (place("file"), place("hard")),
        (place("soft"), place("file")),
        (device.device.clone(), place("device")),
    ] {
        let names = [one.display().to_string(), other.display().to_string()];
        let error = Replication::of(VM)
            .from(scene.client.clone())
            .state(StateFile::open(scene.state_path()).unwrap())
            .targets(move |disk: &_| {
                let path = if disk.name == "a.img" { &one } else { &other };
                open(path, &TargetOptions::default()).map(Some)
            })
            .overwrite()
            .run()
            .await
            .unwrap_err();
        println!("{error}");
        let text = error.to_string();
        for word in ["a.img and b.img", "the same target", &names[0], &names[1]] {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
        assert!(!text.contains("another run"), "{text}");
        assert!(!error.is_transient());
    }
    // What somebody else has is still said to be so.
    let _held = open(&place("file"), &TargetOptions::default()).unwrap();
    let (file, other) = (place("hard"), place("other"));
    let error = Replication::of(VM)
        .from(scene.client.clone())
        .state(StateFile::open(scene.state_path()).unwrap())
        .targets(move |disk: &_| {
            let path = if disk.name == "a.img" { &other } else { &file };
            open(path, &TargetOptions::default()).map(Some)
        })
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another run"), "{error}");
}
