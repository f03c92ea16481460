//! The library's own rooms, without a daemon: what a comparison takes by itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use coriolis_ovm_exporter::config;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use coriolis_ovm_exporter::operations::demo::node::REPOSITORY;
use coriolis_ovm_exporter::ovm::repository::{Repository, RepositorySource};
use coriolis_ovm_exporter::snapshots::{
    Refine, Snapshot, Snapshots, Subject, SubjectDisk, Wish, disk_names,
};
use coriolis_ovm_exporter::sys::attributes::{self, IMMUTABLE};
use coriolis_ovm_exporter::sys::fiemap::ExtentReader;
use uuid::Uuid;

use crate::bench::Bench;
use crate::stage::Ground;

/// A node that sees the same repository as the daemon.
pub struct Library {
    snapshots: Snapshots,
    repository: Repository,
}

/// A snapshot of a machine with one disk.
pub struct Taken(Snapshot);

#[derive(Debug)]
struct Only(Repository);

impl RepositorySource for Only {
    fn repositories(&self) -> Vec<Repository> {
        vec![self.0.clone()]
    }
}

impl Library {
    pub fn open(bench: &Bench, ground: &Ground) -> anyhow::Result<Library> {
        let repository = Repository::inspect(REPOSITORY.to_owned(), None, ground.repository());
        let settings = config::Snapshots {
            min_free: config::MinFree::Bytes(64 << 20),
            ..config::Config::default().snapshots
        };
        Ok(Library {
            snapshots: Snapshots::open(
                &bench.folder().join(format!("{}.db", Uuid::new_v4())),
                Arc::new(Only(repository.clone())),
                settings,
                "bench".to_owned(),
            )?,
            repository,
        })
    }

    /// Takes a snapshot.
    pub fn take(&self, machine: &Machine) -> anyhow::Result<Taken> {
        let paths: Vec<&Path> = machine.disks.iter().map(PathBuf::as_path).collect();
        let names = disk_names(&paths);
        let disks = machine
            .disks
            .iter()
            .zip(names)
            .map(|(path, name)| SubjectDisk {
                name,
                path: path.clone(),
                repository: self.repository.clone(),
            });
        let subject = Subject {
            vm_id: machine.id.clone(),
            domain: None,
            disks: disks.collect(),
        };
        let turn = self.snapshots.turn();
        Ok(Taken(self.snapshots.create(
            &subject,
            &Wish::default(),
            &turn,
        )?))
    }

    /// How many ranges changed since `base`.
    pub fn compare(&self, now: &Taken, base: &Taken) -> anyhow::Result<u64> {
        let base = base.id().to_string();
        let compared = self
            .snapshots
            .compare(now.0.clone(), &base, Refine::Auto, || true)?;
        Ok(compared.disks[0].ranges.len() as u64)
    }
}

impl Taken {
    pub fn id(&self) -> Uuid {
        self.0.id()
    }

    /// The name of its disk.
    pub fn disk(&self) -> &str {
        &self.0.manifest.disks[0].name
    }

    /// Reads the disk's map once. How many extents it has.
    pub fn read_map(&self) -> anyhow::Result<u64> {
        let file = self.file()?;
        let mut extents = 0;
        for extent in ExtentReader::new(&file, 0) {
            extent?;
            extents += 1;
        }
        Ok(extents)
    }

    /// Sets or clears the flag that keeps the clone's extents where they are.
    pub fn seal(&self, immutable: bool) -> anyhow::Result<()> {
        Ok(attributes::set(&self.file()?, IMMUTABLE, immutable)?)
    }

    fn file(&self) -> anyhow::Result<File> {
        let path = self.0.path(&self.0.manifest.disks[0]);
        Ok(File::open(path.context("the repository is gone")?)?)
    }
}
