//! The rest of an adoption that was killed between two repositories.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::Snapshots;
use super::super::error::SnapshotError;
use super::super::faults::Point;
use super::super::locks::lock_directory;
use super::super::manifest::{Disk, Manifest, State};
use super::super::seal;
use super::super::shelf::Shelf;
use super::super::turn::Turn;
use super::folder;
use super::take::Hindrance;
use crate::ovm::repository::Repository;

impl Snapshots {
    /// Gives a copy of an adopted snapshot's manifest to each of its folders that has none, and
    /// seals all copies.
    pub(super) fn complete(
        &self,
        manifest: &Manifest,
        repositories: &[Repository],
    ) -> Result<(), Hindrance> {
        let at_once = Turn::within(Duration::ZERO);
        let _vm = self.locks.lock(&manifest.vm_id, &at_once)?;
        let mut places: Vec<Repository> = repositories
            .iter()
            .filter(|repository| repository.status().is_some())
            .filter(|repository| {
                let mut named = manifest.repositories.iter();
                named.any(|place| place.repository == repository.id)
            })
            .cloned()
            .collect();
        // One order everywhere: that of the locks.
        places.sort_by(|one, other| one.id.cmp(&other.id));
        let mut locks = Vec::new();
        for place in &places {
            let directory = Shelf::of(&place.mount_point).directory(manifest.id);
            locks.push(lock_directory(&directory, &at_once)?);
        }
        let mut missing = Vec::new();
        for place in &places {
            if !has_manifest(place, manifest)? {
                missing.push(place.clone());
            }
        }
        for place in &missing {
            see_that_it_is_unchanged(place, manifest)?;
        }
        self.note(manifest, &missing)?;
        for place in &missing {
            self.write(manifest, place, Shelf::write_manifest)?;
            self.faults.pass(Point::AdoptWritten);
        }
        for place in &places {
            self.protect_copy(&Shelf::of(&place.mount_point), manifest);
            self.faults.pass(Point::AdoptProtected);
        }
        self.index(manifest, &missing);
        Ok(())
    }
}

/// Whether a folder has its copy, which must be in use still.
fn has_manifest(place: &Repository, manifest: &Manifest) -> Result<bool, Hindrance> {
    let shelf = Shelf::of(&place.mount_point);
    match shelf.read_manifest(manifest.id) {
        Ok((Ok(copy), _)) if copy.state == State::Ready => Ok(true),
        Ok(_) => Err(Hindrance::NotNow(
            "it is being deleted, or cannot be read".to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound && place.is_still_mounted() => {
            Ok(false)
        }
        Err(error) => {
            let directory = shelf.directory(manifest.id);
            Err(SnapshotError::io("cannot read", &directory)(error).into())
        }
    }
}

fn see_that_it_is_unchanged(place: &Repository, manifest: &Manifest) -> Result<(), Hindrance> {
    let directory = Shelf::of(&place.mount_point).directory(manifest.id);
    let changed = manifest
        .disks
        .iter()
        .filter(|disk| disk.repository == place.id)
        .find(|disk| !is_same(&directory, disk));
    match changed {
        None => Ok(()),
        Some(disk) => Err(Hindrance::NotNow(format!(
            "{} is not the file that was adopted",
            directory.join(&disk.name).display()
        ))),
    }
}

fn is_same(directory: &Path, disk: &Disk) -> bool {
    let found =
        folder::open_file(&directory.join(&disk.name)).and_then(|file| seal::identify(&file));
    match (&disk.identity, found) {
        (Some(sealed), Ok(found)) => seal::difference(sealed, &found).is_none(),
        _ => false,
    }
}
