//! Folders that nobody will ever adopt, and their removal on request.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::clusters;
use super::super::error::SnapshotError;
use super::super::former::FormerDatabases;
use super::super::locks::lock_directory;
use super::super::manifest;
use super::super::seal;
use super::super::turn::Turn;
use super::UnmatchedFolder;
use super::folder::{self, open_file};
use super::judge::{self, Verdict, View};
use crate::ovm::inventory::Inventory;
use crate::ovm::repository::Repository;
use crate::sys::durable;

/// Every folder that is named like a snapshot and has no manifest.
#[derive(Debug, Default)]
pub struct Orphans {
    /// Those that belong to nobody.
    pub orphans: Vec<UnmatchedFolder>,
    /// Those that are, or may be, adopted, or that somebody uses.
    pub kept: Vec<UnmatchedFolder>,
}

/// What became of a folder.
#[derive(Debug, Default)]
pub struct Removed {
    /// Files that were removed.
    pub files: usize,
    /// Bytes that they took, shared with others or not.
    pub bytes: u64,
    /// What was left, and with it the folder, and why.
    pub left: Vec<(PathBuf, String)>,
}

impl Orphans {
    /// Looks at all folders as adoption does, without a change to anything, beside a running
    /// daemon too. Blocks.
    #[must_use]
    pub fn survey(db_file: &Path, repositories: &[Repository], inventory: &Inventory) -> Orphans {
        let knowledge = FormerDatabases::beside(db_file).read();
        let view = View {
            repositories,
            inventory,
            knowledge: &knowledge,
        };
        let mut survey = Orphans::default();
        let hidden = view.nothing_is_hidden().err();
        for found in folder::find(repositories) {
            let (list, reason) = match judge::judge(&found, &view) {
                Verdict::Stay(obstacle) if !obstacle.passing => match &hidden {
                    None => (&mut survey.orphans, obstacle.reason),
                    Some(hidden) => (
                        &mut survey.kept,
                        format!("{}; but {}", obstacle.reason, hidden.reason),
                    ),
                },
                Verdict::Stay(obstacle) => (&mut survey.kept, obstacle.reason),
                Verdict::Adopt(claim) => (
                    &mut survey.kept,
                    format!(
                        "it is of virtual machine {}: the daemon adopts it",
                        claim.vm_id
                    ),
                ),
                Verdict::Complete(manifest) => (
                    &mut survey.kept,
                    format!(
                        "it is of virtual machine {}: the daemon completes it",
                        manifest.vm_id
                    ),
                ),
            };
            for folder in &found.folders {
                list.push(UnmatchedFolder::new(found.id, folder, reason.clone()));
            }
        }
        for list in [&mut survey.orphans, &mut survey.kept] {
            list.sort_by(|one, other| one.path.cmp(&other.path));
        }
        survey
    }

    /// Removes the plain files of one of these folders, then the folder if nothing else is in it.
    /// Takes the lock that adoption takes, and leaves a folder alone that has a manifest by now.
    ///
    /// # Errors
    /// [`SnapshotError::Busy`] where somebody works on it, [`SnapshotError::Adopted`], the file
    /// system's.
    pub fn remove(folder: &UnmatchedFolder) -> Result<Removed, SnapshotError> {
        let directory = &folder.path;
        let _lock = lock_directory(directory, &Turn::within(Duration::from_secs(5)))?;
        match fs::symlink_metadata(directory.join(manifest::FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SnapshotError::io("cannot read", directory)(error)),
            Ok(_) => return Err(SnapshotError::Adopted { id: folder.id }),
        }
        let mut removed = Removed::default();
        let items = fs::read_dir(directory).map_err(SnapshotError::io("cannot read", directory))?;
        for item in items {
            let path = item
                .map_err(SnapshotError::io("cannot read", directory))?
                .path();
            match remove_plain(&path).map_err(SnapshotError::io("cannot remove", &path))? {
                Ok(bytes) => {
                    removed.files += 1;
                    removed.bytes += bytes;
                }
                Err(reason) => removed.left.push((path, reason)),
            }
        }
        if removed.left.is_empty() {
            let cannot = SnapshotError::io("cannot remove", directory);
            fs::remove_dir(directory)
                .and_then(|()| directory.parent().map_or(Ok(()), durable::sync_directory))
                .map_err(cannot)?;
        }
        removed.left.sort();
        Ok(removed)
    }
}

/// The bytes that the file took, or why it is left.
fn remove_plain(path: &Path) -> io::Result<Result<u64, String>> {
    let left = || Ok(Err("no plain file, or in use".to_owned()));
    if !fs::symlink_metadata(path)?.is_file() {
        return left();
    }
    let file = open_file(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() != 1 || folder::in_use(&file).is_some() {
        return left();
    }
    if let Some(miscount) = clusters::miscount(&file)? {
        return Ok(Err(format!(
            "to remove it would make the file system read-only: {miscount}. {}",
            clusters::CURE
        )));
    }
    seal::unseal(&file)?;
    fs::remove_file(path)?;
    Ok(Ok(metadata.blocks() * 512))
}
