//! Whose snapshot a folder without manifest is. Decides from what was looked at, and touches
//! nothing.
//!
//! The old record decides where there is one. Without it a folder belongs to a machine only if no
//! other could have it: every machine of the node is known, one alone has disks of these names in
//! this repository, and none of its disks is missing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use super::super::former::records::{Record, RecordedDisk};
use super::super::former::{Knowledge, Word};
use super::super::manifest::{self, Manifest, State};
use super::super::shelf::Shelf;
use super::super::subject::Obstacle;
use super::folder::{Elsewhere, Folder, Found};
use crate::ovm::inventory::{Inventory, Vm};
use crate::ovm::repository::{self, Repository};
use crate::ovm::vm_config::DiskEntry;

/// What is to be done with a folder.
#[derive(Debug)]
pub enum Verdict {
    /// It is this machine's.
    Adopt(Claim),
    /// An adoption was interrupted: the other repositories have the manifest, which is right.
    Complete(Box<Manifest>),
    /// It stays as it is.
    Stay(Obstacle),
}

/// A snapshot to be made of folders that are there.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: Uuid,
    pub vm_id: String,
    pub created_at: Timestamp,
    pub disks: Vec<ClaimedDisk>,
    /// What was guessed, in words.
    pub guessed: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ClaimedDisk {
    pub name: String,
    pub parent_path: PathBuf,
    pub repository: Repository,
}

/// What is known of the node.
#[derive(Debug)]
pub struct View<'v> {
    pub repositories: &'v [Repository],
    pub inventory: &'v Inventory,
    pub knowledge: &'v Knowledge,
}

fn lasting(reason: impl Into<String>) -> Obstacle {
    Obstacle {
        reason: reason.into(),
        passing: false,
    }
}

fn passing(reason: impl Into<String>) -> Obstacle {
    Obstacle {
        reason: reason.into(),
        passing: true,
    }
}

/// Decides over one snapshot's folders.
pub fn judge(found: &Found, view: &View<'_>) -> Verdict {
    match decide(found, view) {
        Ok(verdict) => verdict,
        Err(obstacle) => Verdict::Stay(obstacle),
    }
}

fn decide(found: &Found, view: &View<'_>) -> Result<Verdict, Obstacle> {
    let obstacles = || found.folders.iter().flat_map(|folder| &folder.obstacles);
    // What may pass comes first: only what will never be adopted may be purged.
    if let Some(obstacle) = obstacles().find(|obstacle| obstacle.passing) {
        return Err(obstacle.clone());
    }
    if let Some(vm) = view.machine_that_uses(&found.folders) {
        return Err(passing(format!("virtual machine {vm} has a disk in it")));
    }
    if let Some(elsewhere) = &found.elsewhere {
        return half_adopted(found, elsewhere);
    }
    if let Some(path) = &view.knowledge.in_use {
        return Err(passing(format!(
            "{} is open: the first generation is still running on this node",
            path.display()
        )));
    }
    if let Some(obstacle) = obstacles().next() {
        return Err(obstacle.clone());
    }
    let noted = found.folders.iter().find_map(|folder| folder.note.as_ref());
    if noted.is_some_and(|note| !note.adopted) {
        return Err(lasting(
            "it is this program's, and a hand removed its manifest",
        ));
    }
    let claim = match view.knowledge.of(found.id) {
        Word::Known(record) => view.by_record(found, record)?,
        Word::Disputed => {
            return Err(lasting(
                "two databases of the first generation say different things of it",
            ));
        }
        Word::Unknown => view.by_disks(found)?,
    };
    let names: HashSet<&str> = claim.disks.iter().map(|disk| disk.name.as_str()).collect();
    if names.len() < claim.disks.len() {
        return Err(lasting("two of its disks have one name"));
    }
    if noted.is_some_and(|note| note.vm_id != claim.vm_id) {
        return Err(lasting("a note in it names another virtual machine"));
    }
    Ok(Verdict::Adopt(claim))
}

/// The other repositories have a manifest of this snapshot.
fn half_adopted(found: &Found, elsewhere: &Elsewhere) -> Result<Verdict, Obstacle> {
    let manifest = match elsewhere {
        Elsewhere::Manifest(manifest) => manifest,
        Elsewhere::Unreadable(path) => {
            return Err(passing(format!(
                "{} has a manifest of the same snapshot that cannot be read",
                path.display()
            )));
        }
    };
    let names_all = found.folders.iter().all(|folder| {
        manifest
            .repositories
            .iter()
            .any(|place| place.repository == folder.repository.id)
    });
    if manifest.adopted && manifest.state == State::Ready && names_all {
        return Ok(Verdict::Complete(manifest.clone()));
    }
    Err(passing(format!(
        "it is a part of snapshot {}, which has its manifest in another repository: delete that \
         through the interface",
        found.id
    )))
}

impl View<'_> {
    /// A machine that has a file in one of these folders as its disk.
    fn machine_that_uses(&self, folders: &[Folder]) -> Option<&str> {
        self.inventory
            .vms
            .iter()
            .find(|vm| {
                disks(vm).any(|disk| {
                    folders
                        .iter()
                        .any(|folder| Path::new(&disk.path).starts_with(&folder.path))
                })
            })
            .map(|vm| vm.id.as_str())
    }

    fn by_record(&self, found: &Found, record: &Record) -> Result<Claim, Obstacle> {
        if record.disks.is_empty() {
            return Err(lasting("its old record names no disk"));
        }
        let mut names = HashSet::new();
        let mut parents = HashSet::new();
        let mut disks = Vec::new();
        for disk in &record.disks {
            let repository = self.place(found.id, disk)?;
            if !names.insert(&disk.name) || !parents.insert(&disk.parent_path) {
                return Err(lasting(format!(
                    "its old record names disk {:?} twice",
                    disk.name
                )));
            }
            let folder = found
                .folders
                .iter()
                .find(|folder| folder.repository.id == repository.id);
            let is_there =
                folder.is_some_and(|folder| folder.files.iter().any(|file| file.name == disk.name));
            if !is_there {
                return Err(lasting(format!("{} is missing", disk.path.display())));
            }
            disks.push(ClaimedDisk {
                name: disk.name.clone(),
                parent_path: disk.parent_path.clone(),
                repository: repository.clone(),
            });
        }
        for folder in &found.folders {
            if let Some(file) = folder.files.iter().find(|file| !names.contains(&file.name)) {
                return Err(lasting(format!(
                    "its old record does not name {}",
                    folder.path.join(&file.name).display()
                )));
            }
        }
        // A name may lie in two repositories, of which the record means one.
        let count: usize = found.folders.iter().map(|folder| folder.files.len()).sum();
        if count != disks.len() {
            return Err(lasting("its old record does not name all files in it"));
        }
        Ok(Claim {
            id: found.id,
            vm_id: self.machine_of(record)?,
            created_at: record.created_at.unwrap_or_else(|| found.filled()),
            disks,
            guessed: None,
        })
    }

    /// The repository that a recorded disk lies in, where its paths are those that the first
    /// generation made.
    fn place(&self, id: Uuid, disk: &RecordedDisk) -> Result<&Repository, Obstacle> {
        let wrong = |what: &str| {
            lasting(format!(
                "its old record names {:?}, {what}",
                disk.path.display().to_string()
            ))
        };
        if !manifest::is_plain_name(&disk.name) {
            return Err(wrong("the name of which is no file name"));
        }
        let repository = self
            .repositories
            .iter()
            .find(|repository| repository.mount_point == disk.mount_point)
            .ok_or_else(|| wrong("which lies in no repository of this node"))?;
        let shelf = Shelf::of(&repository.mount_point);
        if disk.path != shelf.directory(id).join(&disk.name) || !is_direct(&disk.path) {
            return Err(wrong("which is not in the snapshot's folder"));
        }
        let parent = &disk.parent_path;
        let of_parent = repository::containing(self.repositories, parent);
        if !is_direct(parent)
            || of_parent.is_none_or(|found| found.id != repository.id)
            || parent.starts_with(shelf.root())
        {
            return Err(lasting(format!(
                "its old record says that it is of {:?}, which is no disk of the same repository",
                parent.display().to_string()
            )));
        }
        if repository.status().is_none() {
            return Err(passing(format!(
                "repository {} ({}) holds a part of it and is not mounted",
                repository.id,
                repository.mount_point.display()
            )));
        }
        Ok(repository)
    }

    /// The id of the machine that a record names by vm.cfg's `name`.
    fn machine_of(&self, record: &Record) -> Result<String, Obstacle> {
        if record.vm_id.contains('/') || record.vm_id.chars().any(char::is_control) {
            return Err(lasting("its old record names no virtual machine"));
        }
        match self.inventory.find(&record.vm_id) {
            Some(vm) => Ok(vm.id.clone()),
            // It has been deleted since then, and its snapshots can be, too.
            None => self.every_machine_is_known().map(|()| record.vm_id.clone()),
        }
    }

    fn by_disks(&self, found: &Found) -> Result<Claim, Obstacle> {
        let no_record = |reason: String| match self.knowledge.faults.first() {
            None => lasting(reason),
            Some(fault) => lasting(format!("{reason} (no record of it can be read: {fault})")),
        };
        if found.folders.iter().any(|folder| folder.files.is_empty()) {
            return Err(lasting("there is no disk in it"));
        }
        for folder in &found.folders {
            if let Some(file) = folder.files.iter().find(|file| file.size == 0) {
                let path = folder.path.join(&file.name);
                return Err(lasting(format!("{} is empty", path.display())));
            }
        }
        self.every_machine_is_known()?;
        let fitting: Vec<(&Vm, Vec<ClaimedDisk>)> = self
            .inventory
            .vms
            .iter()
            .filter_map(|vm| Some((vm, self.disks_of(vm, found)?)))
            .collect();
        let (vm, disks) = match fitting.as_slice() {
            [only] => only,
            [] => {
                self.every_folder_has_a_config()?;
                return Err(no_record(
                    "no virtual machine has disks of these names in this repository".to_owned(),
                ));
            }
            [(one, _), (other, _), ..] => {
                return Err(no_record(format!(
                    "virtual machines {} and {} both have disks of these names",
                    one.id, other.id
                )));
            }
        };
        if let Some(missing) = self.missing(vm, disks) {
            return Err(no_record(format!(
                "virtual machine {} has disks of these names, and also {missing}, which is not there",
                vm.id
            )));
        }
        Ok(Claim {
            id: found.id,
            vm_id: vm.id.clone(),
            created_at: found.filled(),
            disks: disks.clone(),
            guessed: Some(
                "no old record of it was found: whose it is was told from the names of its disks, \
                 and its time from its files"
                    .to_owned(),
            ),
        })
    }

    /// A machine's disk for each file in the folders, by name. None where a file has none, or two.
    fn disks_of(&self, vm: &Vm, found: &Found) -> Option<Vec<ClaimedDisk>> {
        let mut claimed = Vec::new();
        for folder in &found.folders {
            for file in &folder.files {
                let mut parents: Vec<&str> = disks(vm)
                    .filter(|disk| disk.scheme.may_be_file())
                    .map(|disk| disk.path.as_str())
                    .filter(|path| {
                        let path = Path::new(path);
                        let of = repository::containing(self.repositories, path);
                        path.file_name().is_some_and(|name| *name == *file.name)
                            && of.is_some_and(|of| of.id == folder.repository.id)
                    })
                    .collect();
                parents.sort_unstable();
                parents.dedup();
                let [parent] = parents.as_slice() else {
                    return None;
                };
                claimed.push(ClaimedDisk {
                    name: file.name.clone(),
                    parent_path: PathBuf::from(parent),
                    repository: folder.repository.clone(),
                });
            }
        }
        Some(claimed)
    }

    /// A disk that a snapshot of the machine must have, and that is not among these.
    fn missing(&self, vm: &Vm, claimed: &[ClaimedDisk]) -> Option<String> {
        disks(vm)
            .filter(|disk| disk.scheme.may_be_file() && !disk.is_read_only_cdrom())
            .filter(|disk| !disk.path.is_empty())
            .find(|disk| {
                let path = Path::new(&disk.path);
                repository::containing(self.repositories, path).is_some()
                    && !claimed.iter().any(|claimed| claimed.parent_path == path)
            })
            .map(|disk| disk.path.clone())
    }

    /// Whether a folder could hold a disk, or a snapshot, of a machine that is not known: then it
    /// must not be thrown away.
    pub fn nothing_is_hidden(&self) -> Result<(), Obstacle> {
        self.every_machine_is_known()?;
        self.every_folder_has_a_config()
    }

    /// Whether a machine could have lost its vm.cfg. This does not keep a machine from its own
    /// folders, since OVM leaves such folders behind.
    fn every_folder_has_a_config(&self) -> Result<(), Obstacle> {
        match self.inventory.without_config.first() {
            None => Ok(()),
            Some(folder) => Err(passing(format!(
                "{} has no vm.cfg, so which disks that virtual machine has cannot be told, and this \
                 may be of it; where there is no such machine any more, remove that folder",
                folder.display()
            ))),
        }
    }

    /// Whether a machine could be there that this node's inventory does not show.
    fn every_machine_is_known(&self) -> Result<(), Obstacle> {
        for repository in self.repositories {
            if repository.status().is_none() {
                return Err(passing(format!(
                    "repository {} is not mounted, and a virtual machine that has disks of these \
                     names may be there",
                    repository.id
                )));
            }
            match fs::read_dir(repository.mount_point.join("VirtualMachines")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(passing(format!(
                        "the virtual machines of repository {} cannot be listed: {error}",
                        repository.id
                    )));
                }
                _ => {}
            }
        }
        let unclear = |vm: &&Vm| {
            vm.config.as_ref().is_none_or(|config| {
                let mut disks = config.disks.iter();
                !config.disks_complete || disks.any(|disk| disk.problem.is_some())
            })
        };
        match self.inventory.vms.iter().find(unclear) {
            None => Ok(()),
            Some(vm) => Err(passing(format!(
                "which disks virtual machine {} has cannot be read for certain, and they may have \
                 these names",
                vm.id
            ))),
        }
    }
}

impl Found {
    /// Not later than this were all its files there.
    fn filled(&self) -> Timestamp {
        let noted = self.folders.iter().find_map(|folder| folder.note.as_ref());
        noted.map_or_else(
            || {
                let filled = self.folders.iter().map(|folder| folder.filled);
                filled.max().unwrap_or(Timestamp::UNIX_EPOCH)
            },
            |note| note.created_at,
        )
    }
}

fn disks(vm: &Vm) -> impl Iterator<Item = &DiskEntry> {
    vm.config.iter().flat_map(|config| &config.disks)
}

/// An absolute path without ways back.
fn is_direct(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}
