//! The one directory of a repository that is ours: `CoriolisSnapshots/`.
//!
//! ```text
//! CoriolisSnapshots/
//!   0d1e…-…/              a snapshot: manifest.json, .deleting.json, and one file a disk
//!   .unfinished-0d1e…-…/  a snapshot before it got, or after it lost, its own name
//!   .probe-…              a clone that was tried, gone again
//! ```
//!
//! A directory is made under its hidden name, gets its manifest there, and is then renamed; it is
//! renamed back before it loses its manifest. So a directory whose name is an id and that has no
//! manifest is not of our making.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use uuid::Uuid;

use super::faults::{Faults, Point};
use super::manifest::{self, Manifest, ManifestError};
use super::probe::SCRATCH;
use crate::ovm::repository::Repository;
use crate::sys::attributes;
use crate::sys::durable::{self, Beside};
use crate::sys::file_system;
use crate::sys::flock::Flock;

/// Directory below a repository's mount point; the first generation used the same.
pub const DIRECTORY: &str = "CoriolisSnapshots";
const UNFINISHED: &str = ".unfinished-";
/// A manifest that says `deleting`, waiting to take the place of the one that says `ready`.
pub(super) const TOMBSTONE: &str = ".deleting.json";
/// Suffix of a scratch file's clone.
pub const CLONE: &str = "-clone";

/// `CoriolisSnapshots/` of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    root: PathBuf,
}

/// What tells one state of a manifest file from the next, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(pub String);

/// What lies on a shelf.
#[derive(Debug)]
pub enum Entry {
    /// A directory with a manifest.
    Snapshot(Uuid, Stamp),
    /// A directory under its hidden name: being made or removed, or left so by a crash.
    Unfinished(Uuid),
    /// A directory named like a snapshot, without a manifest: left by the first generation, or
    /// put there by hand.
    Unmatched(Uuid),
    /// A directory whose manifest cannot be looked at.
    Unreadable(Uuid, io::Error),
    /// Anything else.
    Foreign(PathBuf),
}

impl Shelf {
    /// The shelf of the repository mounted at `mount_point`.
    #[must_use]
    pub fn of(mount_point: &Path) -> Shelf {
        Shelf {
            root: mount_point.join(DIRECTORY),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the repository is mounted now.
    #[must_use]
    pub fn is_in_reach(&self) -> bool {
        let mount_point = self.root.parent().unwrap_or(&self.root);
        let repository = Repository::inspect(String::new(), None, mount_point.to_owned());
        repository.status().is_some()
    }

    /// The directory of a snapshot.
    #[must_use]
    pub fn directory(&self, id: Uuid) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// The directory of a snapshot before it got, or after it lost, its own name.
    #[must_use]
    pub fn unfinished(&self, id: Uuid) -> PathBuf {
        self.root.join(format!("{UNFINISHED}{id}"))
    }

    /// Makes the shelf itself, if it is not there: on the mount that was looked at and on no other.
    /// A repository may be unmounted at any moment, and nothing may be made below its bare mount
    /// point; whatever else is made is made below the shelf.
    ///
    /// # Errors
    /// The file system's; NotFound where another device is mounted there, or none; NotADirectory
    /// where something else, a symbolic link too, has the name.
    pub fn make(&self, repository: &Repository) -> io::Result<()> {
        let mount = File::open(&repository.mount_point)?;
        if !repository.holds(&mount) {
            let text = format!(
                "{} was unmounted meanwhile",
                repository.mount_point.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        match mkdirat(&mount, DIRECTORY, Mode::S_IRWXU) {
            Ok(()) => mount.sync_all(),
            Err(Errno::EEXIST) => open_directory(&self.root).map(drop),
            Err(error) => Err(error.into()),
        }
    }

    /// All that lies here, except the scratch files of trial clones.
    ///
    /// # Errors
    /// The file system's. A shelf that was never made is empty.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let listing = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut entries = Vec::new();
        for item in listing {
            let item = item?;
            let name = item.file_name();
            let name = name.to_str().unwrap_or_default();
            if is_scratch(name) {
                continue;
            }
            // A symbolic link is no directory here.
            let is_directory = item.file_type().is_ok_and(|kind| kind.is_dir());
            let hidden = name.strip_prefix(UNFINISHED).and_then(parse_id);
            match (is_directory, hidden, parse_id(name)) {
                (true, Some(id), _) => entries.push(Entry::Unfinished(id)),
                (true, None, Some(id)) => match self.stamp(id) {
                    Ok(stamp) => entries.push(Entry::Snapshot(id, stamp)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        // Or deleted since it was listed.
                        if item.path().is_dir() {
                            entries.push(Entry::Unmatched(id));
                        }
                    }
                    Err(error) => entries.push(Entry::Unreadable(id, error)),
                },
                _ => entries.push(Entry::Foreign(item.path())),
            }
        }
        Ok(entries)
    }

    /// What lies in an unfinished directory and is none of ours: nothing that every snapshot has,
    /// and no disk that the manifest names. With a manifest that cannot be read, everything.
    ///
    /// # Errors
    /// The file system's; NotFound where the directory is gone.
    pub fn foreign_in_unfinished(&self, id: Uuid) -> io::Result<Vec<PathBuf>> {
        let manifest = match self.read_unfinished(id) {
            Ok(Err(_)) => return Ok(vec![self.unfinished(id)]),
            Ok(Ok(manifest)) => Some(manifest),
            Err(_) => None,
        };
        let own = [manifest::FILE_NAME, TOMBSTONE];
        let mut foreign = Vec::new();
        for item in fs::read_dir(self.unfinished(id))? {
            let item = item?;
            let name = item.file_name();
            let is_ours = name.to_str().is_some_and(|name| {
                own.iter()
                    .any(|own| name == *own || name == durable::temporary(own))
                    || manifest
                        .as_ref()
                        .is_some_and(|manifest| manifest.disk(name).is_some())
            });
            if !is_ours {
                foreign.push(item.path());
            }
        }
        Ok(foreign)
    }

    /// The stamp of a snapshot's manifest.
    ///
    /// # Errors
    /// NotFound where there is none.
    pub fn stamp(&self, id: Uuid) -> io::Result<Stamp> {
        let metadata = fs::symlink_metadata(self.directory(id).join(manifest::FILE_NAME))?;
        Ok(stamp_of(&metadata))
    }

    /// Reads a snapshot's manifest, with the stamp of what was read.
    ///
    /// # Errors
    /// The file system's, and what [`Manifest::parse`] finds.
    pub fn read_manifest(&self, id: Uuid) -> io::Result<(Result<Manifest, ManifestError>, Stamp)> {
        read_manifest_in(&self.directory(id), id)
    }

    /// Whose snapshot it is, as far as manifests say that which are no good otherwise: of a later
    /// release, or with the right one waiting beside a damaged one. None where they say nothing,
    /// different things, or are of another snapshot: a hand's copy is nobody's.
    #[must_use]
    pub fn owner(&self, id: Uuid) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Owned {
            id: Uuid,
            vm_id: String,
        }
        let mut owners: Vec<String> = [manifest::FILE_NAME, TOMBSTONE]
            .into_iter()
            .filter_map(|name| {
                let file = open_unfollowed(&self.directory(id).join(name)).ok()?;
                let mut bytes = Vec::new();
                let is_file = file.metadata().ok()?.is_file();
                file.take(if is_file { manifest::MAX_SIZE } else { 0 })
                    .read_to_end(&mut bytes)
                    .ok()?;
                serde_json::from_slice::<Owned>(&bytes).ok()
            })
            .filter(|owned| owned.id == id)
            .map(|owned| owned.vm_id)
            .collect();
        owners.dedup();
        owners.pop().filter(|_| owners.is_empty())
    }

    /// Reads the manifest of an unfinished directory.
    ///
    /// # Errors
    /// As [`Shelf::read_manifest`].
    pub fn read_unfinished(&self, id: Uuid) -> io::Result<Result<Manifest, ManifestError>> {
        read_manifest_in(&self.unfinished(id), id).map(|(manifest, _)| manifest)
    }

    /// Writes a snapshot's manifest over the one that is there.
    ///
    /// # Errors
    /// The file system's; the old one stays then.
    pub fn write_manifest(&self, manifest: &Manifest, faults: &Faults) -> io::Result<()> {
        put_in_place(self.write_beside(manifest, faults)?, faults)
    }

    /// Writes a snapshot's manifest beside the one that is there, out to the device.
    ///
    /// # Errors
    /// The file system's; nothing is left beside then.
    pub fn write_beside(&self, manifest: &Manifest, faults: &Faults) -> io::Result<Beside> {
        let directory = self.directory(manifest.id);
        set_immutable(&directory.join(manifest::FILE_NAME), false)?;
        faults.pass(Point::ManifestUnsealed);
        write_beside(&directory, manifest::FILE_NAME, manifest, faults)
    }

    /// Makes a snapshot's directory with its first manifest in it, and locks it. Nobody sees the
    /// name without the manifest. The name is not durable yet: see [`Shelf::sync_names`].
    ///
    /// # Errors
    /// The file system's; nothing is left then.
    pub fn make_directory(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        faults: &Faults,
    ) -> io::Result<Flock> {
        self.make(repository)?;
        let hidden = self.unfinished(manifest.id);
        let made = self.make_hidden(&hidden).and_then(|lock| {
            faults.pass(Point::DirectoryHidden);
            self.furnish(&hidden, manifest, faults)?;
            Ok(lock)
        });
        if made.is_err() {
            // Under whichever name it has by now; never without a manifest under its own.
            let _ = self.remove_directory(manifest.id, faults);
        }
        made
    }

    /// Makes an empty directory and locks it. The lock belongs to the directory, whatever its
    /// name: whoever clears up unfinished directories, here or on another node, takes it first.
    /// Between the making and the locking somebody may do just that: then it is made again.
    fn make_hidden(&self, hidden: &Path) -> io::Result<Flock> {
        for _ in 0..1000 {
            match make_private_directory(hidden) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let directory = match open_directory(hidden) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let Some(lock) = Flock::try_exclusive(directory.try_clone()?)? else {
                std::thread::yield_now();
                continue;
            };
            // Locked, but is it still the one that has the name?
            let name = fs::symlink_metadata(hidden);
            if name.is_ok_and(|name| {
                directory
                    .metadata()
                    .is_ok_and(|own| own.ino() == name.ino())
            }) {
                return Ok(lock);
            }
        }
        Err(io::Error::other(format!(
            "{} is removed again and again by somebody else",
            hidden.display()
        )))
    }

    fn furnish(&self, hidden: &Path, manifest: &Manifest, faults: &Faults) -> io::Result<()> {
        // The tombstone is written now, while there is room: a full file system must still be able to
        // say "deleting", which takes no more than a rename then.
        let (creating, deleting) = (manifest.to_bytes(), manifest.deleting().to_bytes());
        let files = [(manifest::FILE_NAME, &*creating), (TOMBSTONE, &*deleting)];
        for written in durable::write_both_beside(hidden, files)? {
            faults.pass(Point::ManifestBeside);
            written.rename()?;
            faults.pass(Point::ManifestPlaced);
        }
        // Their content is durable. The journals of XFS and OCFS2 keep the order in which names were
        // given: after a power cut there is none without those before it. btrfs keeps what it was asked
        // for: without this a clone could be found later in a directory without a manifest.
        let directory = File::open(hidden)?;
        match file_system::status(&directory)?.kind {
            file_system::Kind::Xfs | file_system::Kind::Ocfs2 => {}
            _ => directory.sync_all()?,
        }
        fs::rename(hidden, self.directory(manifest.id))?;
        faults.pass(Point::DirectoryNamed);
        Ok(())
    }

    /// Makes the names of the snapshots' directories durable. Until then a power cut may leave one
    /// under its hidden name, as if it had not been finished.
    ///
    /// # Errors
    /// The file system's.
    pub fn sync_names(&self) -> io::Result<()> {
        durable::sync_directory(&self.root)
    }

    /// Writes into a folder that has no manifest yet what it is going to be.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_note(&self, manifest: &Manifest, faults: &Faults) -> io::Result<()> {
        let directory = self.directory(manifest.id);
        set_immutable(&directory.join(TOMBSTONE), false)?;
        replace(&directory, TOMBSTONE, &manifest.deleting(), faults)
    }

    /// What an interrupted adoption has noted, or what is left where a hand removed the manifest.
    #[must_use]
    pub fn read_note(&self, id: Uuid) -> Option<Manifest> {
        let (note, _) = read_in(&self.directory(id), TOMBSTONE, id).ok()?;
        note.ok()
    }

    /// Says in a snapshot's manifest that it is being deleted.
    ///
    /// # Errors
    /// The file system's; NotFound where the directory is gone.
    pub fn mark_deleting(&self, manifest: &Manifest, faults: &Faults) -> io::Result<()> {
        let directory = self.directory(manifest.id);
        self.protect(manifest.id, false)?;
        faults.pass(Point::DeleteUnsealed);
        match fs::rename(
            directory.join(TOMBSTONE),
            directory.join(manifest::FILE_NAME),
        ) {
            Ok(()) => durable::sync_directory(&directory)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write_manifest(&manifest.deleting(), faults)?;
            }
            Err(error) => return Err(error),
        }
        faults.pass(Point::DeleteMarked);
        Ok(())
    }

    /// Sets or clears the immutable flag of what says which files are a snapshot's: an `rm -rf`
    /// that fails on the disks must not succeed on the manifest.
    ///
    /// # Errors
    /// The file system's.
    pub fn protect(&self, id: Uuid, on: bool) -> io::Result<()> {
        for name in [manifest::FILE_NAME, TOMBSTONE] {
            set_immutable(&self.directory(id).join(name), on)?;
        }
        Ok(())
    }

    /// Whether a snapshot's manifests are as they are left in peace: nothing half written beside
    /// them, and immutable where they are `sealed`.
    ///
    /// # Errors
    /// The file system's.
    pub fn is_tidy(&self, id: Uuid, sealed: bool) -> io::Result<bool> {
        let directory = self.directory(id);
        for name in [manifest::FILE_NAME, TOMBSTONE] {
            let beside = fs::symlink_metadata(directory.join(durable::temporary(name)));
            if !beside.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                return Ok(false);
            }
            if sealed && !is_immutable(&directory.join(name))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what is half written beside a directory's manifests.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove_half_written(&self, directory: &Path) -> io::Result<()> {
        for name in [manifest::FILE_NAME, TOMBSTONE] {
            remove_if_there(&directory.join(durable::temporary(name)))?;
        }
        Ok(())
    }

    /// Removes a snapshot's directory, whose disks are gone: it loses its name first, then its
    /// manifest. What others have put in stays, and so does the directory then; returns whether
    /// it is gone.
    ///
    /// # Errors
    /// The file system's. That it is gone already is fine.
    pub fn remove_directory(&self, id: Uuid, faults: &Faults) -> io::Result<bool> {
        match fs::rename(self.directory(id), self.unfinished(id)) {
            Ok(()) => durable::sync_directory(&self.root)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The longer name needs room that a full file system may not have.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                return self.remove_emptied(&self.directory(id), faults);
            }
            Err(error) => return Err(error),
        }
        faults.pass(Point::DirectoryHiddenAgain);
        self.remove_emptied(&self.unfinished(id), faults)
    }

    /// Removes what is ours of a directory without disks, and the directory.
    ///
    /// # Errors
    /// As [`Shelf::remove_directory`].
    pub fn remove_emptied(&self, directory: &Path, faults: &Faults) -> io::Result<bool> {
        self.remove_half_written(directory)?;
        // The manifest is the last to go: it says what else there is.
        for (name, point) in [
            (TOMBSTONE, Point::TombstoneGone),
            (manifest::FILE_NAME, Point::ManifestGone),
        ] {
            set_immutable(&directory.join(name), false)?;
            remove_if_there(&directory.join(name))?;
            faults.pass(point);
        }
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        faults.pass(Point::DirectoryGone);
        durable::sync_directory(&self.root)?;
        Ok(true)
    }

    /// Removes scratch files of trial clones, which a crash may leave.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove_scratch(&self) -> io::Result<()> {
        let listing = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for item in listing {
            let item = item?;
            if item.file_name().to_str().is_some_and(is_scratch) {
                remove_if_there(&item.path())?;
            }
        }
        Ok(())
    }
}

/// Whether this is the name of a trial clone's scratch file.
fn is_scratch(name: &str) -> bool {
    name.strip_prefix(SCRATCH)
        .map(|id| id.strip_suffix(CLONE).unwrap_or(id))
        .and_then(parse_id)
        .is_some()
}

/// Whether a file cannot be changed; one that is not there cannot.
fn is_immutable(path: &Path) -> io::Result<bool> {
    match open_unfollowed(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        other => Ok(attributes::is_immutable(&other?)),
    }
}

/// Sets or clears the immutable flag; a file that is not there has none, and neither has one on a
/// file system without flags.
fn set_immutable(path: &Path, on: bool) -> io::Result<()> {
    match open_unfollowed(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if attributes::is_immutable(&file) == on => Ok(()),
        Ok(file) => attributes::set(&file, attributes::IMMUTABLE, on),
    }
}

/// Removes a file; that there is none is fine.
///
/// # Errors
/// The file system's.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_unfollowed(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Opens a directory; a symbolic link in its place is refused.
///
/// # Errors
/// The file system's.
pub fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Puts a manifest in its place, whole or not at all.
fn replace(directory: &Path, name: &str, content: &Manifest, faults: &Faults) -> io::Result<()> {
    put_in_place(write_beside(directory, name, content, faults)?, faults)
}

/// Writes a manifest beside its place, out to the device.
fn write_beside(
    directory: &Path,
    name: &str,
    content: &Manifest,
    faults: &Faults,
) -> io::Result<Beside> {
    let beside = durable::write_beside(directory, name, &content.to_bytes())?;
    faults.pass(Point::ManifestBeside);
    Ok(beside)
}

/// Puts a manifest that was written beside its place there.
pub(super) fn put_in_place(beside: Beside, faults: &Faults) -> io::Result<()> {
    beside.put_in_place()?;
    faults.pass(Point::ManifestPlaced);
    Ok(())
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Ids are written in one way only: another spelling is another name, and not ours.
fn parse_id(name: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(name).ok()?;
    (id.to_string() == name).then_some(id)
}

fn read_manifest_in(
    directory: &Path,
    id: Uuid,
) -> io::Result<(Result<Manifest, ManifestError>, Stamp)> {
    read_in(directory, manifest::FILE_NAME, id)
}

fn read_in(
    directory: &Path,
    name: &str,
    id: Uuid,
) -> io::Result<(Result<Manifest, ManifestError>, Stamp)> {
    let file = open_unfollowed(&directory.join(name))?;
    let metadata = file.metadata()?;
    let stamp = stamp_of(&metadata);
    if !metadata.is_file() || metadata.len() > manifest::MAX_SIZE {
        let refused = ManifestError::Inconsistent("not a regular file of a manifest's size".into());
        return Ok((Err(refused), stamp));
    }
    let mut bytes = Vec::new();
    file.take(manifest::MAX_SIZE).read_to_end(&mut bytes)?;
    Ok((Manifest::parse(&bytes, id), stamp))
}

fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    Stamp(format!(
        "{}:{}:{}.{:09}",
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovm::repository::Mount;

    #[test]
    fn nothing_is_made_below_a_mount_point_that_has_lost_its_mount() {
        let bare = tempfile::tempdir().unwrap();
        fs::write(bare.path().join(".ovsrepo"), "OVS_REPO_ALIAS=x\n").unwrap();
        let mut repository = Repository::inspect("r".into(), None, bare.path().to_owned());
        let shelf = Shelf::of(bare.path());
        let Mount::Mounted { device, .. } = &mut repository.mount else {
            panic!("{repository:?}")
        };
        *device += 1;
        let error = shelf.make(&repository).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(!shelf.root().exists());

        let repository = Repository::inspect("r".into(), None, bare.path().to_owned());
        shelf.make(&repository).unwrap();
        shelf.make(&repository).unwrap();
        assert!(shelf.root().is_dir());
    }
}
