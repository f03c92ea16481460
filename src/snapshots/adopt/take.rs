//! Making a snapshot of folders that are there. Nothing is cloned, moved or removed.
//!
//! | step | what a crash after it leaves | what the next start does |
//! | --- | --- | --- |
//! | a note with the time, in every folder | folders without manifest | adopts them, with that time |
//! | every file sealed | the same, with immutable files | the same |
//! | manifest `ready` in some repositories | a snapshot, broken | completes it |
//! | manifest `ready` in all | a snapshot | serves it |
//!
//! The manifest is the last thing that is written: a snapshot without it is not believed, one with
//! it is complete but for copies that say the same.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::Snapshots;
use super::super::error::SnapshotError;
use super::super::faults::{Faults, Point};
use super::super::locks::lock_directory;
use super::super::manifest::{self, Disk, Manifest, Place, State};
use super::super::seal;
use super::super::shelf::Shelf;
use super::super::turn::Turn;
use super::folder::{self, Folder};
use super::judge::Claim;
use crate::ovm::repository::Repository;
use crate::protocol::Consistency;
use crate::sys::attributes;
use crate::sys::flock::Flock;

/// Why a folder that could have been adopted was not, this time.
#[derive(Debug, thiserror::Error)]
pub enum Hindrance {
    /// Something has changed since it was looked at, or somebody works on it.
    #[error("{0}")]
    NotNow(String),
    /// A file system, or the index.
    #[error(transparent)]
    Failed(#[from] SnapshotError),
}

impl Snapshots {
    /// Makes a snapshot of a claim.
    pub(super) fn take_over(&self, claim: &Claim) -> Result<(), Hindrance> {
        let at_once = Turn::within(Duration::ZERO);
        let _vm = self.locks.lock(&claim.vm_id, &at_once)?;
        let repositories = repositories_of(claim);
        let _locks = lock_all(&repositories, claim.id, &at_once)?;
        let files = open_all(claim)?;
        let mut manifest = self.manifest_of(claim, &repositories)?;
        self.faults.pass(Point::AdoptLocked);
        self.note(&manifest, &repositories)?;
        self.seal_all(&mut manifest, &files)?;
        manifest.state = State::Ready;
        self.note(&manifest, &repositories)?;
        for repository in &repositories {
            self.write(&manifest, repository, Shelf::write_manifest)?;
            self.faults.pass(Point::AdoptWritten);
        }
        for repository in &repositories {
            self.protect_copy(&Shelf::of(&repository.mount_point), &manifest);
            self.faults.pass(Point::AdoptProtected);
        }
        self.index(&manifest, &repositories);
        Ok(())
    }

    /// Notes in every folder what is being made of it.
    pub(super) fn note(
        &self,
        manifest: &Manifest,
        repositories: &[Repository],
    ) -> Result<(), SnapshotError> {
        for repository in repositories {
            self.write(manifest, repository, Shelf::write_note)?;
            self.faults.pass(Point::AdoptNoted);
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        manifest: &Manifest,
        repository: &Repository,
        how: impl FnOnce(&Shelf, &Manifest, &Faults) -> io::Result<()>,
    ) -> Result<(), SnapshotError> {
        let shelf = Shelf::of(&repository.mount_point);
        how(&shelf, manifest, &self.faults).map_err(SnapshotError::io(
            "cannot write the manifest in",
            &shelf.directory(manifest.id),
        ))
    }

    fn manifest_of(
        &self,
        claim: &Claim,
        repositories: &[Repository],
    ) -> Result<Manifest, SnapshotError> {
        let taken: HashSet<Timestamp> = self
            .all(Some(&claim.vm_id))?
            .iter()
            .map(|snapshot| snapshot.manifest.created_at)
            .collect();
        let mut created_at = claim.created_at;
        while taken.contains(&created_at)
            && let Ok(later) = created_at.checked_add(SignedDuration::from_micros(1))
        {
            created_at = later;
        }
        Ok(Manifest {
            version: manifest::VERSION,
            id: claim.id,
            vm_id: claim.vm_id.clone(),
            created_at,
            state: State::Deleting,
            node: self.node.clone(),
            repositories: repositories
                .iter()
                .map(|repository| Place {
                    repository: repository.id.clone(),
                    mount_point: repository.mount_point.clone(),
                })
                .collect(),
            disks: claim
                .disks
                .iter()
                .map(|disk| Disk {
                    name: disk.name.clone(),
                    parent_path: disk.parent_path.clone(),
                    repository: disk.repository.id.clone(),
                    size: 0,
                    extents: 0,
                    stall_us: 0,
                    sealed: false,
                    identity: None,
                })
                .collect(),
            warnings: claim.guessed.iter().cloned().collect(),
            label: None,
            expires_at: None,
            request: None,
            consistency: Consistency::None,
            pause_us: None,
            adopted: true,
        })
    }

    /// Seals every file, and looks once more whether anybody writes to it: from then on nobody can
    /// begin to.
    fn seal_all(&self, manifest: &mut Manifest, files: &[Opened]) -> Result<(), Hindrance> {
        let immutable = self.settings.get().immutable;
        let mut sealed_now = Vec::new();
        for (disk, opened) in manifest.disks.iter_mut().zip(files) {
            let was_sealed = attributes::is_immutable(&opened.file);
            let sealed = seal::seal(&opened.file, &opened.path, immutable)?;
            if !was_sealed {
                sealed_now.push(&opened.file);
            }
            self.faults.pass(Point::AdoptSealed);
            if let Some(user) = folder::in_use(&opened.file) {
                for file in sealed_now {
                    if let Err(error) = seal::unseal(file) {
                        tracing::warn!("{} stays sealed: {error}", opened.path.display());
                    }
                }
                return Err(Hindrance::NotNow(format!(
                    "{} {user}",
                    opened.path.display()
                )));
            }
            disk.size = sealed.identity.size;
            disk.extents = sealed.extents;
            disk.sealed = sealed.unsealed.is_none();
            disk.identity = Some(sealed.identity);
            if let Some(reason) = sealed.unsealed {
                manifest.warnings.push(format!(
                    "disk {} is not protected against changes: {reason}",
                    disk.name
                ));
            }
        }
        Ok(())
    }
}

/// A disk's file.
struct Opened {
    path: std::path::PathBuf,
    file: File,
}

/// Opens every file of a claim, and sees that the folders are still as they were judged.
fn open_all(claim: &Claim) -> Result<Vec<Opened>, Hindrance> {
    for repository in repositories_of(claim) {
        let shelf = Shelf::of(&repository.mount_point);
        let directory = shelf.directory(claim.id);
        let folder = Folder::look(&repository, claim.id)
            .map_err(SnapshotError::io("cannot read", &directory))?;
        if let Some(obstacle) = folder.obstacles.first() {
            return Err(Hindrance::NotNow(obstacle.reason.clone()));
        }
        let claimed = |name: &str| {
            let mut disks = claim.disks.iter();
            disks.any(|disk| disk.name == name && disk.repository.id == repository.id)
        };
        if let Some(file) = folder.files.iter().find(|file| !claimed(&file.name)) {
            let path = directory.join(&file.name);
            return Err(Hindrance::NotNow(format!("{} is new", path.display())));
        }
    }
    claim
        .disks
        .iter()
        .map(|disk| {
            let shelf = Shelf::of(&disk.repository.mount_point);
            let path = shelf.directory(claim.id).join(&disk.name);
            let file = folder::open_file(&path).map_err(SnapshotError::io("cannot open", &path))?;
            Ok(Opened { path, file })
        })
        .collect()
}

/// Locks every folder; none of them may have got a manifest meanwhile.
fn lock_all(
    repositories: &[Repository],
    id: uuid::Uuid,
    turn: &Turn,
) -> Result<Vec<Flock>, Hindrance> {
    let mut locks = Vec::new();
    for repository in repositories {
        let shelf = Shelf::of(&repository.mount_point);
        let directory = shelf.directory(id);
        locks.push(lock_directory(&directory, turn)?);
        match shelf.stamp(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SnapshotError::io("cannot read", &directory)(error).into()),
            Ok(_) => {
                return Err(Hindrance::NotNow(
                    "somebody else has just adopted it".to_owned(),
                ));
            }
        }
        if !repository.is_still_mounted() {
            return Err(Hindrance::NotNow(format!(
                "{} has just been unmounted",
                repository.mount_point.display()
            )));
        }
    }
    Ok(locks)
}

/// One order everywhere: that of the locks.
fn repositories_of(claim: &Claim) -> Vec<Repository> {
    let mut repositories: Vec<Repository> = Vec::new();
    for disk in &claim.disks {
        if !repositories
            .iter()
            .any(|known| known.id == disk.repository.id)
        {
            repositories.push(disk.repository.clone());
        }
    }
    repositories.sort_by(|one, other| one.id.cmp(&other.id));
    repositories
}
