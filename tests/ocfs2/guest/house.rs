//! A node with one repository, without a daemon around.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coriolis_ovm_exporter::config::{self, MinFree};
use coriolis_ovm_exporter::ovm::repository::{Repository, RepositorySource};
use coriolis_ovm_exporter::snapshots::{
    Comparison, Refine, Snapshot, SnapshotError, Snapshots, Subject, SubjectDisk, Wish,
};
use nix::mount::MsFlags;
use tempfile::TempDir;

use super::mount::Mount;
use crate::brief;

pub const VM: &str = "0004fb00000600000000000000000001";
const REPOSITORY: &str = "0004fb00000300000000000000000001";

/// Where the repository is mounted.
#[derive(Debug, Clone)]
pub struct Only(pub PathBuf);

impl RepositorySource for Only {
    fn repositories(&self) -> Vec<Repository> {
        let id = REPOSITORY.to_owned();
        vec![Repository::inspect(id, None, self.0.clone())]
    }
}

#[derive(Debug)]
pub struct House {
    pub snapshots: Snapshots,
    pub mount: Mount,
    source: Only,
    index: TempDir,
}

impl House {
    /// Mounts a disk's file system as the repository of a node that was never there before.
    pub fn on(disk: &brief::Disk) -> House {
        let point = PathBuf::from("/OVS/Repositories").join(REPOSITORY);
        let mount = Mount::ocfs2(&disk.device, &point);
        fs::create_dir_all(point.join("VirtualDisks")).unwrap();
        let settings = config::Snapshots::default();
        let index = tempfile::tempdir().unwrap();
        let source = Only(point);
        House {
            snapshots: open(index.path(), &source, &settings),
            mount,
            source,
            index,
        }
    }

    /// Unmounts and mounts the repository, and starts over with an empty index.
    pub fn move_out_and_in(&mut self, flags: MsFlags) {
        self.mount.unmount();
        self.mount.mount(flags);
        self.index = tempfile::tempdir().unwrap();
        let settings = config::Snapshots::default();
        self.snapshots = open(self.index.path(), &self.source, &settings);
    }

    /// Snapshots of the same repository that need no head room, with an index of their own.
    pub fn without_head_room(&self) -> (Snapshots, TempDir) {
        let index = tempfile::tempdir().unwrap();
        let settings = config::Snapshots {
            min_free: MinFree::Bytes(0),
            ..config::Snapshots::default()
        };
        (open(index.path(), &self.source, &settings), index)
    }

    pub fn root(&self) -> &Path {
        &self.source.0
    }

    pub fn repository(&self) -> Repository {
        self.source.repositories().remove(0)
    }

    /// A guest's disk of that name.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.root().join("VirtualDisks").join(name)
    }

    /// The machine with that one disk.
    pub fn subject(&self, disk: &Path) -> Subject {
        Subject {
            vm_id: VM.to_owned(),
            domain: None,
            disks: vec![SubjectDisk {
                name: disk.file_name().unwrap().to_string_lossy().into_owned(),
                path: disk.to_owned(),
                repository: self.repository(),
            }],
        }
    }

    pub fn try_take(&self, disk: &Path) -> Result<Snapshot, SnapshotError> {
        try_create(&self.snapshots, &self.subject(disk))
    }

    pub fn take(&self, disk: &Path) -> Snapshot {
        self.try_take(disk).unwrap()
    }

    pub fn find(&self, snapshot: &Snapshot) -> Result<Snapshot, SnapshotError> {
        self.snapshots.find(VM, &snapshot.id().to_string())
    }

    pub fn compare(
        &self,
        base: &Snapshot,
        snapshot: &Snapshot,
        refine: Refine,
    ) -> Result<Comparison, SnapshotError> {
        let snapshot = self.find(snapshot)?;
        self.snapshots
            .compare(snapshot, &base.id().to_string(), refine, || true)
    }

    pub fn delete(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let turn = self.snapshots.turn();
        self.snapshots.delete(VM, &snapshot.id().to_string(), &turn)
    }

    pub fn delete_all(&self) -> Result<(), SnapshotError> {
        self.snapshots.delete_all(VM, &self.snapshots.turn())
    }

    /// All that lies in the repository's snapshot folder.
    pub fn shelf(&self) -> Vec<String> {
        let Ok(items) = fs::read_dir(self.root().join("CoriolisSnapshots")) else {
            return Vec::new();
        };
        items
            .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }
}

/// A snapshot with nothing special about it.
pub fn try_create(snapshots: &Snapshots, subject: &Subject) -> Result<Snapshot, SnapshotError> {
    snapshots.create(subject, &Wish::default(), &snapshots.turn())
}

fn open(index: &Path, source: &Only, settings: &config::Snapshots) -> Snapshots {
    Snapshots::open(
        &index.join("exporter.db"),
        Arc::new(source.clone()),
        settings.clone(),
        "node".to_owned(),
    )
    .unwrap()
}

/// The file of a snapshot's only disk.
pub fn file_of(snapshot: &Snapshot) -> PathBuf {
    snapshot.path(&snapshot.manifest.disks[0]).unwrap()
}
