//! A node with several repositories and machines whose disks lie across them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::ovm::repository::{Repository, RepositorySource};
use coriolis_ovm_exporter::snapshots::{Snapshot, SnapshotError, Snapshots, Subject, SubjectDisk};
use tempfile::TempDir;
use uuid::Uuid;

use super::house::try_create;
use super::mount::{DEFAULT, Mount};

/// Where each repository would be mounted.
#[derive(Debug, Clone)]
struct Places(Vec<PathBuf>);

impl RepositorySource for Places {
    fn repositories(&self) -> Vec<Repository> {
        self.0
            .iter()
            .map(|point| {
                let id = point.file_name().unwrap().to_string_lossy().into_owned();
                Repository::inspect(id, None, point.clone())
            })
            .collect()
    }
}

#[derive(Debug)]
pub struct Estate {
    pub snapshots: Snapshots,
    pub mounts: Vec<Mount>,
    places: Places,
    _index: TempDir,
}

impl Estate {
    /// Mounts each device's OCFS2 as a repository of a node that was never there before.
    pub fn on(devices: &[PathBuf]) -> Estate {
        Estate::mounted(devices, DEFAULT)
    }

    /// The same, with these options.
    pub fn mounted(devices: &[PathBuf], options: &'static str) -> Estate {
        let points: Vec<PathBuf> = (1..=devices.len())
            .map(|number| format!("/OVS/Repositories/0004fb0000030000{number:016}").into())
            .collect();
        let mounts = devices
            .iter()
            .zip(&points)
            .map(|(device, point)| {
                let mount = Mount::with(device, point, options);
                fs::create_dir_all(point.join("VirtualDisks")).unwrap();
                mount
            })
            .collect();
        let places = Places(points);
        let index = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(
            &index.path().join("exporter.db"),
            Arc::new(places.clone()),
            config::Snapshots::default(),
            "node".to_owned(),
        )
        .unwrap();
        Estate {
            snapshots,
            mounts,
            places,
            _index: index,
        }
    }

    pub fn repositories(&self) -> Vec<Repository> {
        self.places.repositories()
    }

    /// Where a repository is mounted.
    pub fn root(&self, repository: usize) -> &Path {
        self.mounts[repository].point()
    }

    /// A guest's disk of that name in a repository.
    pub fn disk(&self, repository: usize, name: &str) -> PathBuf {
        self.root(repository).join("VirtualDisks").join(name)
    }

    /// A machine with these disks.
    pub fn subject(&self, vm_id: &str, disks: &[(usize, &str)]) -> Subject {
        let repositories = self.repositories();
        Subject {
            vm_id: vm_id.to_owned(),
            domain: None,
            disks: disks
                .iter()
                .map(|(repository, name)| SubjectDisk {
                    name: (*name).to_owned(),
                    path: self.disk(*repository, name),
                    repository: repositories[*repository].clone(),
                })
                .collect(),
        }
    }

    /// A snapshot with nothing special about it.
    pub fn take(&self, subject: &Subject) -> Result<Snapshot, SnapshotError> {
        try_create(&self.snapshots, subject)
    }

    pub fn delete(&self, vm: &str, id: Uuid) -> Result<(), SnapshotError> {
        self.snapshots
            .delete(vm, &id.to_string(), &self.snapshots.turn())
    }

    pub fn delete_all(&self, vm: &str) -> Result<(), SnapshotError> {
        self.snapshots.delete_all(vm, &self.snapshots.turn())
    }

    /// Unmounts everything, which nothing may use any more.
    pub fn leave(self) {
        let Estate {
            snapshots, mounts, ..
        } = self;
        drop(snapshots);
        for mut mount in mounts {
            mount.unmount();
        }
    }
}
