//! Whole runs to a worker of Coriolis's: two disks, one after the other what may go wrong.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use coriolis_ovm_exporter::client::replicate::{
    Cancellation, How, Outcome, ReplicateError, Replication, StateFile,
};
use coriolis_ovm_exporter::client::target::coriolis::{HttpsWriter, WriterOptions};
use tempfile::TempDir;

use super::super::comparison::guest::Guest;
use super::super::comparison::seed::Seed;
use super::super::coriolis::worker::{Asked, Fault, Worker};
use super::super::streams::scene::assert_same;
use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::scene::{MIB, Scene, VM};

pub(super) const NAMES: [&str; 2] = ["a.img", "b.img"];
/// What a volume has more than its disk will ever have.
const MORE: u64 = 64 * MIB;

pub(super) struct Transfer {
    pub(super) scene: Scene,
    pub(super) worker: Worker,
    guests: Vec<Guest>,
    _folder: TempDir,
}

pub(super) fn device(name: &str) -> String {
    format!("/dev/disk/by-id/{name}")
}

impl Transfer {
    /// Volumes that are new: all zeros, and larger than their disks.
    pub(super) async fn set(seed: Seed) -> Transfer {
        let mut random = seed.random();
        let scene = Scene::set(&NAMES).await;
        let mut guest = |disk: &std::path::PathBuf| {
            let seed = Seed(rand::RngExt::random(&mut random));
            Guest::new(Kind::Xfs, disk.clone(), seed.random())
        };
        let guests: Vec<Guest> = scene.disks.iter().map(&mut guest).collect();
        let folder = tempfile::tempdir().unwrap();
        let worker = Worker::start(folder.path()).await;
        for (name, disk) in NAMES.iter().zip(&scene.disks) {
            worker.attach(&device(name), b"");
            let file = fs::File::options()
                .write(true)
                .open(worker.file(&device(name)));
            let size = fs::metadata(disk).unwrap().len() + MORE;
            file.unwrap().set_len(size).unwrap();
        }
        Transfer {
            scene,
            worker,
            guests,
            _folder: folder,
        }
    }

    pub(super) fn work(&mut self) {
        for guest in &mut self.guests {
            guest.work(None);
        }
    }

    fn replication(&self, declared_zeroed: bool) -> Replication {
        self.unverified(declared_zeroed).verified()
    }

    pub(super) fn unverified(&self, declared_zeroed: bool) -> Replication {
        self.to(declared_zeroed, device)
    }

    /// To volumes whose owner says which they are.
    pub(super) fn to_volumes(&self, ids: [&str; 2], declared_zeroed: bool) -> Replication {
        let ids = ids.map(str::to_owned);
        self.by(declared_zeroed, device, move |disk| {
            let number = NAMES.iter().position(|name| *name == disk)?;
            Some(ids[number].clone())
        })
    }

    /// To the volumes of these names.
    fn to(
        &self,
        declared_zeroed: bool,
        device: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Replication {
        self.by(declared_zeroed, device, |_| None)
    }

    fn by(
        &self,
        declared_zeroed: bool,
        device: impl Fn(&str) -> String + Send + Sync + 'static,
        identity: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Replication {
        let worker = self.worker.connect();
        Replication::of(VM)
            .from(self.scene.client.clone())
            .state(StateFile::open(self.scene.state_path()).unwrap())
            .targets(move |disk| {
                let options = WriterOptions {
                    declared_zeroed,
                    identity: identity(&disk.name),
                    chunk: 256 << 10,
                    patience: Duration::from_secs(5),
                    ..WriterOptions::default()
                };
                let writer = HttpsWriter::to(&worker, &device(&disk.name), options);
                Ok(Some(Arc::new(writer)))
            })
            .least_segment(MIB)
    }

    async fn run(&self) -> Outcome {
        let outcome = self.replication(false).run().await.unwrap();
        self.check(&outcome).await;
        outcome
    }

    /// The same after one that broke off. A guest may have changed every place of a small disk: then nothing
    /// tells any more which volume it is.
    async fn finish(&self) -> Outcome {
        let outcome = self.replication(false).overwrite().run().await.unwrap();
        self.check(&outcome).await;
        for disk in &outcome.finished_disks {
            let is_unknown = disk.why.contains("may have written to every place of it");
            assert_eq!(disk.how == How::Full, is_unknown, "{disk:?}");
        }
        outcome
    }

    /// The volumes are the snapshot's disks, by their bytes and by checksum; nobody holds them.
    async fn check(&self, outcome: &Outcome) {
        self.check_bytes(outcome).await;
        for disk in &outcome.disks {
            assert_eq!(disk.checked, Some(true), "{disk:?}");
        }
    }

    /// The same of a run that has made no checksum of everything.
    pub(super) async fn check_bytes(&self, outcome: &Outcome) {
        let client = &self.scene.client;
        let snapshot = client.snapshot(VM, outcome.snapshot, None).await.unwrap();
        for disk in &snapshot.disks {
            let volume = self.worker.bytes(&device(&disk.name));
            let truth = fs::read(&disk.path).unwrap();
            assert_same(&volume[..truth.len()], &truth, &disk.name);
        }
        assert_eq!(self.scene.snapshots().await, [outcome.snapshot]);
        assert_eq!(self.worker.held(), [""; 0]);
        assert_eq!(self.worker.jobs(), 0);
    }

    pub(super) fn written(&self) -> u64 {
        let asked = self.worker.asked();
        let writes = asked.iter().filter(|asked| asked.what == "write");
        writes.map(|asked| asked.length as u64).sum()
    }

    fn size(&self) -> u64 {
        let sizes = self
            .scene
            .disks
            .iter()
            .map(|disk| fs::metadata(disk).unwrap().len());
        sizes.sum()
    }
}

pub(super) fn hows(outcome: &Outcome) -> Vec<How> {
    outcome.disks.iter().map(|disk| disk.how).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_on_a_worker_follows_its_guest() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut transfer = Transfer::set(seed).await;
    // Nobody has said that the volumes may be written to.
    let error = transfer.replication(false).run().await.unwrap_err();
    assert!(matches!(error, ReplicateError::Occupied { .. }), "{error}");
    assert_eq!(transfer.written(), 0);

    let first = transfer.replication(true).run().await.unwrap();
    transfer.check(&first).await;
    assert_eq!(hows(&first), [How::Full, How::Full]);
    // Of a disk that ends in zeros its last ones.
    assert!(
        first.disks.iter().all(|disk| disk.zeros <= 4096),
        "{first:?}"
    );
    assert!(transfer.written() < transfer.size());
    for _ in 0..count(3, 50) {
        transfer.work();
        let outcome = transfer.run().await;
        assert_eq!(hows(&outcome), [How::Incremental; 2]);
        let sent: u64 = outcome
            .disks
            .iter()
            .map(|disk| disk.data + disk.zeros)
            .sum();
        assert_eq!(transfer.written(), sent);
    }

    // The base goes: it cannot be compared here, so all of it is sent, zeros too.
    transfer.work();
    transfer
        .scene
        .delete(transfer.scene.state().base.unwrap())
        .await;
    let outcome = transfer.run().await;
    assert_eq!(hows(&outcome), [How::Full; 2]);
    assert_eq!(transfer.written(), transfer.size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_broke_off_is_finished_by_the_next() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut transfer = Transfer::set(seed).await;
    let base = transfer.replication(true).run().await.unwrap().snapshot;

    // The worker refuses for good, in the middle of one disk.
    transfer.work();
    // Whatever else the guest has done.
    transfer.scene.write(1, 4096, &[7; 4096]);
    transfer.worker.plan(|asked: &Asked| {
        let is_it = asked.what == "write" && asked.device.ends_with("b.img");
        is_it.then_some(Fault::Refuse(507))
    });
    let begun = std::time::Instant::now();
    let error = transfer.replication(false).run().await.unwrap_err();
    println!("{error}, after {:?}", begun.elapsed());
    let text = error.to_string();
    for word in ["b.img", "write", "507", "told to"] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
    assert_eq!(transfer.scene.state().base, Some(base));
    assert_eq!(transfer.worker.held(), [""; 0]);
    transfer.worker.mend();
    transfer.work();
    let outcome = transfer.finish().await;
    assert!(outcome.finished.is_some());
    assert_eq!(hows(&outcome), [How::Incremental; 2]);

    // Cancelled while the worker hangs: it ends soon, and lets go of the volumes.
    transfer.work();
    transfer.scene.write(0, 4096, &[8; 4096]);
    let cancellation = Cancellation::new();
    let cancel = cancellation.clone();
    transfer.worker.plan(move |asked| {
        let is_it = asked.what == "write";
        if is_it {
            cancel.cancel();
        }
        is_it.then_some(Fault::Refuse(503))
    });
    let error = transfer
        .replication(false)
        .cancelled_by(&cancellation)
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, ReplicateError::Cancelled), "{error}");
    assert_eq!(transfer.worker.held(), [""; 0]);
    transfer.worker.mend();
    let outcome = transfer.finish().await;
    assert!(outcome.finished.is_some());

    // A release that fails once: what was written may not be there, whatever is answered later.
    transfer.work();
    let left = AtomicUsize::new(1);
    transfer.worker.plan(move |asked| {
        let is_it = asked.what == "release" && left.swap(0, SeqCst) == 1;
        is_it.then_some(Fault::DoAndRefuse(500))
    });
    let base = transfer.scene.state().base;
    let error = transfer.replication(false).run().await.unwrap_err();
    assert!(error.to_string().contains("release"), "{error}");
    assert_eq!(transfer.scene.state().base, base);
    transfer.worker.mend();
    let outcome = transfer.finish().await;
    assert!(outcome.finished.is_some());

    // One that always does.
    transfer.work();
    transfer
        .worker
        .plan(|asked| (asked.what == "release").then_some(Fault::Refuse(403)));
    let base = transfer.scene.state().base;
    let error = transfer.replication(false).run().await.unwrap_err();
    assert!(error.to_string().contains("release"), "{error}");
    assert_eq!(transfer.scene.state().base, base);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_differs_is_told_with_its_place() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let transfer = Transfer::set(seed).await;
    transfer.scene.make(1, 12 * MIB);
    let first = transfer.replication(true).run().await.unwrap();
    transfer.check(&first).await;
    // The volume loses a byte, where it is not looked before an increment.
    let at = 5 * MIB + (640 << 10) + 5;
    transfer.scene.write(1, 4096, &[7; 4096]);
    let mut bytes = transfer.worker.bytes(&device("b.img"));
    bytes[usize::try_from(at).unwrap()] ^= 1;
    fs::write(transfer.worker.file(&device("b.img")), bytes).unwrap();
    let error = transfer.replication(false).run().await.unwrap_err();
    println!("{error}");
    let ReplicateError::Mismatch {
        disk,
        differing,
        block,
        first: place,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((disk.as_str(), *differing), ("b.img", 1));
    assert!((*place..place + block).contains(&at), "{error}");
    assert_eq!(transfer.scene.state().base, Some(first.snapshot));
    assert_eq!(
        (transfer.worker.held(), transfer.worker.jobs()),
        (vec![], 0)
    );
    // Nobody can say what else is wrong there.
    transfer.worker.asked();
    let outcome = transfer.run().await;
    let hows: Vec<How> = outcome.finished_disks.iter().map(|disk| disk.how).collect();
    assert_eq!(hows, [How::Incremental, How::Full]);

    // Bytes that are damaged on their way.
    transfer.scene.write(0, 8192, &[9; 4096]);
    transfer.worker.corrupt();
    let error = transfer.replication(false).run().await.unwrap_err();
    assert!(
        matches!(error, ReplicateError::Mismatch { ref disk, .. } if disk == "a.img"),
        "{error}"
    );
    transfer.worker.mend();
    transfer.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_too_small_for_the_zeros_at_the_end_is_told_of() {
    let transfer = Transfer::set(Seed::choose()).await;
    // Random bytes, and zeros from the middle on.
    transfer.scene.make(0, 8 * MIB);
    let volume = fs::File::options()
        .write(true)
        .open(transfer.worker.file(&device("a.img")))
        .unwrap();
    volume.set_len(8 * MIB - 512).unwrap();
    let error = transfer.unverified(true).run().await.unwrap_err();
    println!("{error}");
    let text = error.to_string();
    assert!(
        text.contains("a.img") && text.contains("past the end"),
        "{text}"
    );
    volume.set_len(8 * MIB).unwrap();
    let outcome = transfer.replication(false).run().await.unwrap();
    transfer.check(&outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_do_not_go_to_one_volume() {
    let transfer = Transfer::set(Seed::choose()).await;
    let both = transfer.to(true, |_| device("a.img"));
    let error = both.run().await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, ReplicateError::Setup(_)), "{error}");
    assert!(error.to_string().contains("the same target"), "{error}");
    assert_eq!(transfer.written(), 0);
    assert_eq!(transfer.worker.held(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_left_out_once_is_not_taken_for_blank_again() {
    let transfer = Transfer::set(Seed::choose()).await;
    for disk in [0, 1] {
        transfer.scene.make(disk, 4 * MIB);
    }
    let first = transfer.replication(true).run().await.unwrap();
    transfer.check(&first).await;
    let without = transfer.replication(true).disks(["a.img"]);
    without.run().await.unwrap();
    // What was copied becomes zero.
    let zeros = vec![0; 1 << 20];
    transfer.scene.write(1, 0, &zeros);
    // The flag was left in the script.
    let outcome = transfer.replication(true).run().await.unwrap();
    transfer.check(&outcome).await;
    let disk = outcome.disks.iter().find(|disk| disk.name == "b.img");
    let disk = disk.unwrap();
    assert_eq!((disk.how, disk.zeros_skipped), (How::Full, 0), "{disk:?}");
}
