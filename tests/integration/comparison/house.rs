//! Repositories and the snapshots on them, without a daemon around.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::ovm::repository::{Repository, RepositorySource};
use coriolis_ovm_exporter::snapshots::{
    Comparison, Refine, Snapshot, SnapshotError, Snapshots, Subject, SubjectDisk, Wish,
};
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use tempfile::TempDir;

pub const VM: &str = "0004fb00000600000000000000000001";

/// The repositories of a node: ids and mount points, looked at again at each question.
#[derive(Debug, Clone)]
struct Mounts(Vec<(String, PathBuf)>);

impl RepositorySource for Mounts {
    fn repositories(&self) -> Vec<Repository> {
        self.0
            .iter()
            .map(|(id, point)| Repository::inspect(id.clone(), None, point.clone()))
            .collect()
    }
}

/// The snapshots of one node.
#[derive(Debug)]
pub struct House {
    pub snapshots: Snapshots,
    mounts: Mounts,
    settings: config::Snapshots,
    folder: TempDir,
}

impl House {
    pub fn over(grounds: &[&Ground]) -> House {
        House::with(grounds, config::Snapshots::default())
    }

    pub fn with(grounds: &[&Ground], settings: config::Snapshots) -> House {
        let mounts = Mounts(
            grounds
                .iter()
                .enumerate()
                .map(|(at, ground)| {
                    let id = format!("0004fb0000030000{:016x}", at + 1);
                    (id, ground.repository())
                })
                .collect(),
        );
        let folder = tempfile::tempdir().unwrap();
        House {
            snapshots: open(folder.path(), &mounts, &settings),
            mounts,
            settings,
            folder,
        }
    }

    /// As after a restart of the daemon: nothing that was only remembered is left.
    pub fn reopen(&mut self) {
        self.snapshots = open(self.folder.path(), &self.mounts, &self.settings);
    }

    pub fn repository(&self, at: usize) -> Repository {
        self.mounts.repositories().swap_remove(at)
    }

    /// All these disks of [`VM`]; each by its repository's position and its path.
    pub fn subject(&self, disks: &[(usize, &Path)]) -> Subject {
        Subject {
            vm_id: VM.to_owned(),
            domain: None,
            disks: disks
                .iter()
                .map(|(at, path)| SubjectDisk {
                    name: path.file_name().unwrap().to_string_lossy().into_owned(),
                    path: path.to_path_buf(),
                    repository: self.repository(*at),
                })
                .collect(),
        }
    }

    /// A snapshot of one disk in the first repository.
    pub fn take(&self, disk: &Path) -> Snapshot {
        self.try_create(&self.subject(&[(0, disk)])).unwrap()
    }

    /// A snapshot with nothing special about it.
    pub fn try_create(&self, subject: &Subject) -> Result<Snapshot, SnapshotError> {
        let turn = self.snapshots.turn();
        self.snapshots.create(subject, &Wish::default(), &turn)
    }

    pub fn delete_all(&self) -> Result<(), SnapshotError> {
        self.snapshots.delete_all(VM, &self.snapshots.turn())
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
}

fn open(folder: &Path, mounts: &Mounts, settings: &config::Snapshots) -> Snapshots {
    Snapshots::open(
        &folder.join("exporter.db"),
        Arc::new(mounts.clone()),
        settings.clone(),
        "node".to_owned(),
    )
    .unwrap()
}

/// The place of a guest's disk in a repository.
pub fn disk_in(ground: &Ground, name: &str) -> PathBuf {
    ground.repository().join("VirtualDisks").join(name)
}

/// The file of a snapshot's first disk.
pub fn file_of(snapshot: &Snapshot) -> PathBuf {
    snapshot.path(&snapshot.manifest.disks[0]).unwrap()
}

/// Everything that lies in a repository's snapshot folder.
pub fn shelf_of(ground: &Ground) -> Vec<String> {
    let folder = ground.repository().join("CoriolisSnapshots");
    let Ok(items) = fs::read_dir(folder) else {
        return Vec::new();
    };
    items
        .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// Where the file system says that a file's extents lie: logical, physical, length.
pub fn places(path: &Path) -> Vec<(u64, u64, u64)> {
    ExtentReader::new(&File::open(path).unwrap(), 0)
        .map(|extent| {
            let extent = extent.unwrap();
            (extent.logical, extent.physical, extent.length)
        })
        .collect()
}

/// Runs a command; gives what it printed and whether it worked.
pub fn shell(program: &str, arguments: &[&str]) -> (String, bool) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

/// Runs a command that has to work.
pub fn must(program: &str, arguments: &[&str]) -> String {
    let (text, worked) = shell(program, arguments);
    assert!(worked, "{program} {arguments:?}: {text}");
    text
}

/// A path as a command's argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
