//! A folder without manifest, looked at without touching it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use super::super::manifest::{self, Manifest};
use super::super::shelf::{self, Entry, Shelf, open_directory};
use super::super::subject::Obstacle;
use crate::ovm::repository::Repository;
use crate::sys::{durable, occupied};

/// A folder that is named like a snapshot and has no manifest.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The repository that it lies in.
    pub repository: Repository,
    /// Where it is.
    pub path: PathBuf,
    /// The disks' files in it, by name.
    pub files: Vec<DiskFile>,
    /// Why nothing in it may be adopted, whoever it belongs to: each reason, those that may pass
    /// first.
    pub obstacles: Vec<Obstacle>,
    /// Not later than this was it filled.
    pub filled: Timestamp,
    /// What an earlier adoption that was interrupted, or the program itself, has noted.
    pub note: Option<Manifest>,
    /// Bytes of all files in it, holes included.
    pub size: u64,
    /// Bytes that its files take, shared or not: the most that removing it frees.
    pub allocated: u64,
}

/// A regular file in a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFile {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// All folders of one id that have no manifest: one in each repository.
#[derive(Debug)]
pub struct Found {
    /// The snapshot's id.
    pub id: Uuid,
    /// By repository id.
    pub folders: Vec<Folder>,
    /// The manifest that another repository has for this id.
    pub elsewhere: Option<Elsewhere>,
}

/// A manifest of the same snapshot in another repository.
#[derive(Debug)]
pub enum Elsewhere {
    /// What it says.
    Manifest(Box<Manifest>),
    /// Nobody can say.
    Unreadable(PathBuf),
}

/// Looks for folders without manifest in all repositories that are mounted.
pub fn find(repositories: &[Repository]) -> Vec<Found> {
    let mut mounted: Vec<&Repository> = repositories
        .iter()
        .filter(|repository| repository.status().is_some())
        .collect();
    mounted.sort_by(|one, other| one.id.cmp(&other.id));
    let mut all: Vec<Found> = Vec::new();
    for repository in &mounted {
        for id in without_manifest(repository) {
            // Gone since it was listed.
            let Ok(folder) = Folder::look(repository, id) else {
                continue;
            };
            match all.iter_mut().find(|found| found.id == id) {
                Some(found) => found.folders.push(folder),
                None => all.push(Found {
                    id,
                    folders: vec![folder],
                    elsewhere: None,
                }),
            }
        }
    }
    for found in &mut all {
        found.elsewhere = mounted
            .iter()
            .find_map(|repository| elsewhere(repository, found.id));
    }
    all
}

fn without_manifest(repository: &Repository) -> Vec<Uuid> {
    let shelf = Shelf::of(&repository.mount_point);
    // What is wrong with the shelf itself is said at every listing.
    let entries = shelf.entries().unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Unmatched(id) => Some(id),
            _ => None,
        })
        .collect()
}

fn elsewhere(repository: &Repository, id: Uuid) -> Option<Elsewhere> {
    let shelf = Shelf::of(&repository.mount_point);
    match shelf.read_manifest(id) {
        Ok((Ok(manifest), _)) => Some(Elsewhere::Manifest(Box::new(manifest))),
        Ok((Err(_), _)) => Some(Elsewhere::Unreadable(shelf.directory(id))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(Elsewhere::Unreadable(shelf.directory(id))),
    }
}

impl Folder {
    /// Looks at everything in it.
    ///
    /// # Errors
    /// The file system's, where the folder itself cannot be read.
    pub fn look(repository: &Repository, id: Uuid) -> io::Result<Folder> {
        let shelf = Shelf::of(&repository.mount_point);
        let path = shelf.directory(id);
        let own = open_directory(&path)?.metadata()?;
        let mut folder = Folder {
            repository: repository.clone(),
            note: shelf.read_note(id),
            path,
            files: Vec::new(),
            obstacles: Vec::new(),
            filled: timestamp(own.mtime(), own.mtime_nsec()),
            size: 0,
            allocated: 0,
        };
        let mut newest_file = None;
        for item in fs::read_dir(&folder.path)? {
            let item = item?;
            if item.file_name().to_str().is_some_and(is_ours) {
                continue;
            }
            match folder.look_at_file(&item.path(), own.dev()) {
                Ok(changed) => newest_file = newest_file.max(Some(changed)),
                Err(obstacle) => folder.obstacles.push(obstacle),
            }
        }
        folder.files.sort_by(|one, other| one.name.cmp(&other.name));
        folder.obstacles.sort_by_key(|obstacle| !obstacle.passing);
        // Whatever happened to folder and files later can only have made them younger.
        folder.filled = newest_file.map_or(folder.filled, |file| folder.filled.min(file));
        Ok(folder)
    }

    /// When the file's inode was last changed.
    fn look_at_file(&mut self, path: &Path, device: u64) -> Result<Timestamp, Obstacle> {
        let name = path.file_name().and_then(|name| name.to_str());
        let refuse = |what: &str| Obstacle {
            reason: format!("{} {what}", path.display()),
            passing: false,
        };
        let Some(name) = name.filter(|name| manifest::is_plain_name(name)) else {
            return Err(refuse("has a name that no disk has"));
        };
        let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if !is_file {
            return Err(refuse("is no regular file"));
        }
        let file =
            open_file(path).map_err(|error| refuse(&format!("cannot be opened: {error}")))?;
        let metadata = file
            .metadata()
            .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
        self.size += metadata.len();
        self.allocated += metadata.blocks() * 512;
        if !metadata.is_file() || metadata.dev() != device {
            return Err(refuse("is no regular file of this file system"));
        }
        if metadata.nlink() != 1 {
            return Err(refuse(
                "has a second name (a hard link): it may be somebody's disk",
            ));
        }
        if let Some(reason) = in_use(&file) {
            return Err(Obstacle {
                reason: format!("{} {reason}", path.display()),
                passing: true,
            });
        }
        self.files.push(DiskFile {
            name: name.to_owned(),
            size: metadata.len(),
        });
        Ok(timestamp(metadata.ctime(), metadata.ctime_nsec()))
    }
}

/// Opens a file to look at it or to seal it; a link or a pipe in its place does no harm.
///
/// # Errors
/// The file system's.
pub fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Who works on a file, in words. What cannot be found out counts as somebody.
pub fn in_use(file: &File) -> Option<String> {
    match occupied::is_written_to(file) {
        Ok(false) => {}
        Ok(true) => return Some("is open for writing".to_owned()),
        Err(error) => return Some(format!("may be open for writing: {error}")),
    }
    match occupied::loop_device(file) {
        Ok(None) => None,
        Ok(Some(device)) => Some(format!("is in use as {device}")),
        Err(error) => Some(format!("may be in use as a loop device: {error}")),
    }
}

/// What an interrupted adoption leaves.
fn is_ours(name: &str) -> bool {
    let own = [manifest::FILE_NAME, shelf::TOMBSTONE];
    name == shelf::TOMBSTONE || own.iter().any(|own| name == durable::temporary(own))
}

fn timestamp(seconds: i64, nanoseconds: i64) -> Timestamp {
    i32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
