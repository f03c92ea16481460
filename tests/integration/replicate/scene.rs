//! A node with a machine, and its replica in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::client::replicate::{
    Cancellation, Event, How, Outcome, Progress, ReplicaState, ReplicateError, Replication,
    StateFile, StateStore as _,
};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use tempfile::TempDir;
use uuid::Uuid;

use super::super::comparison::house::disk_in;
use super::super::streams::scene::assert_same;
use super::super::support::disk;
use super::super::support::node::{Kind, TestNode};

pub const VM: &str = "0004fb00000600000000000000000001";
pub const MIB: u64 = 1 << 20;

pub struct Scene {
    pub node: TestNode,
    pub client: Client,
    pub disks: Vec<PathBuf>,
    pub folder: TempDir,
}

impl Scene {
    /// A machine with disks of these names, yet to be made.
    pub async fn set(names: &[&str]) -> Scene {
        Scene::with_config(names, "").await
    }

    pub async fn with_config(names: &[&str], more: &str) -> Scene {
        let node = TestNode::with_config(&[Kind::Xfs], more).await;
        let client = node.client().await;
        let disks: Vec<PathBuf> = names
            .iter()
            .map(|name| disk_in(&node.repositories[0].ground, name))
            .collect();
        let scene = Scene {
            client,
            disks,
            folder: tempfile::tempdir().unwrap(),
            node,
        };
        scene.attach(&scene.disks);
        fs::create_dir(scene.replicas()).unwrap();
        scene
    }

    /// A machine with one disk of random bytes, and of zeros from the middle on.
    pub async fn with_disk(size: u64) -> Scene {
        let scene = Scene::set(&["a.img"]).await;
        scene.make(0, size);
        scene
    }

    /// Makes a disk: random bytes, and zeros from the middle on.
    pub fn make(&self, disk: usize, size: u64) {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let middle = bytes.len() / 2;
        Random::new(size ^ disk as u64).fill(&mut bytes[..middle]);
        fs::write(&self.disks[disk], bytes).unwrap();
    }

    /// Says which disks the machine has.
    pub fn attach(&self, disks: &[PathBuf]) {
        let disks: Vec<String> = disks
            .iter()
            .zip('a'..)
            .map(|(disk, letter)| format!("'file:{},xvd{letter},w'", disk.display()))
            .collect();
        let text = format!("name = '{VM}'\ndisk = [{}]\n", disks.join(", "));
        self.node.vm_cfg(0, VM, &text);
    }

    /// What a guest writes.
    pub fn write(&self, at: usize, offset: u64, bytes: &[u8]) {
        disk::write(&self.disks[at], offset, bytes);
    }

    pub fn replicas(&self) -> PathBuf {
        self.folder.path().join("replicas")
    }

    pub fn replica(&self, name: &str) -> PathBuf {
        self.replicas().join(name)
    }

    pub fn state_path(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    /// What is known between two runs.
    pub fn state(&self) -> ReplicaState {
        let file = StateFile::open(self.state_path()).unwrap();
        let state = file.load().unwrap();
        state.unwrap_or_else(|| ReplicaState::new(VM))
    }

    /// A run with the state and the files of this scene.
    pub fn replication(&self) -> Replication {
        self.replication_from(self.client.clone())
    }

    pub fn replication_from(&self, client: Client) -> Replication {
        Replication::of(VM)
            .from(client)
            .state(StateFile::open(self.state_path()).unwrap())
            .to_files(self.replicas())
            .patience(Duration::from_secs(2))
    }

    /// Runs, and sees that the replica is what it should be.
    pub async fn run(&self) -> Outcome {
        let outcome = self.replication().run().await.unwrap();
        self.check(&outcome).await;
        outcome
    }

    /// Whether every replica is its snapshot's disk, and that snapshot the only one.
    pub async fn check(&self, outcome: &Outcome) {
        self.check_files(outcome.snapshot).await;
        assert_eq!(self.snapshots().await, [outcome.snapshot], "{outcome:?}");
        let state = self.state();
        assert_eq!(state.base, Some(outcome.snapshot));
        assert!(
            state.pending.is_none() && state.to_drop.is_empty(),
            "{state:?}"
        );
        // What was said of the run that was finished first is said of disks that degraded there.
        let degraded = outcome.finished_disks.iter();
        let degraded = degraded.filter(|disk| disk.how != How::Incremental);
        let explained: Vec<String> = degraded
            .map(|disk| format!("{}: to finish snapshot", disk.name))
            .collect();
        for warning in &outcome.warnings {
            assert!(
                explained.iter().any(|start| warning.starts_with(start)),
                "{outcome:?}"
            );
        }
    }

    pub async fn check_files(&self, snapshot: Uuid) {
        let snapshot = self.client.snapshot(VM, snapshot, None).await.unwrap();
        for disk in &snapshot.disks {
            let replica = fs::read(self.replica(&disk.name)).unwrap();
            assert_same(&replica, &fs::read(&disk.path).unwrap(), &disk.name);
        }
    }

    /// The base's disk, for a guest that puts back what was there.
    pub fn base_file(&self, disk: &Path) -> Option<PathBuf> {
        let snapshots = self.node.repositories[0].path().join("CoriolisSnapshots");
        let folder = snapshots.join(self.state().base?.to_string());
        Some(folder.join(disk.file_name().unwrap()))
    }

    pub async fn snapshots(&self) -> Vec<Uuid> {
        self.client.vm(VM).await.unwrap().snapshots
    }

    /// A run that ends as soon as something was written. Answers the snapshot that it leaves.
    pub async fn run_until_written(&self) -> Uuid {
        let cancellation = Cancellation::new();
        let error = self
            .replication()
            .cancelled_by(&cancellation)
            .progress(once_written(&cancellation))
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, ReplicateError::Cancelled), "{error}");
        let pending = self.state().pending.unwrap();
        assert!(!pending.dirty.is_empty());
        pending.snapshot.unwrap()
    }

    /// Deletes a snapshot behind the replica's back.
    pub async fn delete(&self, snapshot: Uuid) {
        self.client.delete_snapshot(VM, snapshot).await.unwrap();
    }
}

/// Cancels when the first bytes were written.
pub fn once_written(cancellation: &Cancellation) -> impl Progress + use<> {
    let cancellation = cancellation.clone();
    move |event: &Event<'_>| {
        if matches!(event, Event::DiskAdvanced { written, .. } if *written > 0) {
            cancellation.cancel();
        }
    }
}

/// The bytes of a file, and what is to be done with them.
pub fn changed(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
