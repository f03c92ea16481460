//! Making a snapshot: all disks of a VM under one id, cloned back to back, then sealed.
//!
//! | step | what a crash after it leaves | what a restart does |
//! | --- | --- | --- |
//! | directory with a manifest `creating` in every repository | directories, perhaps still hidden, empty clones | undoes |
//! | clones | unsealed clones | undoes |
//! | sealed | sealed clones | undoes |
//! | all that is durable, and manifests `ready` beside their places | the same | undoes |
//! | manifest `ready` in some repositories | a snapshot that no client was told of | undoes |
//! | manifest `ready` in all | a snapshot | serves it |

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::catalog::Copy;
use super::clusters;
use super::error::SnapshotError;
use super::faults::{Faults, Point};
use super::manifest::{self, Disk, Manifest, Place, State};
use super::probe::Ability;
use super::seal;
use super::shelf::{self, Shelf};
use super::snapshot::{Snapshot, Standing};
use super::stall::Rates;
use super::turn::Turn;
use super::wish::Wish;
use super::{Snapshots, delete};
use crate::ovm::repository::Repository;
use crate::protocol::Consistency;
use crate::sys::durable::{self, Beside};
use crate::sys::flock::Flock;
use crate::sys::reflink::{self, CloneCall};
use crate::sys::{file_system, syncfs};

/// What to snapshot.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The virtual machine's id.
    pub vm_id: String,
    /// What the toolstack calls it, where that is certain.
    pub domain: Option<String>,
    /// Every disk that must be copied.
    pub disks: Vec<SubjectDisk>,
}

/// One disk to snapshot.
#[derive(Debug, Clone)]
pub struct SubjectDisk {
    /// Name of its file in the snapshot.
    pub name: String,
    /// The guest's disk.
    pub path: PathBuf,
    /// The repository that holds it.
    pub repository: Repository,
}

/// A disk's source, open, with all that cloning needs.
pub(super) struct Source<'s> {
    pub(super) disk: &'s SubjectDisk,
    pub(super) file: File,
    call: CloneCall,
}

impl Source<'_> {
    /// Refuses a disk of which the kernel would make a clone that cannot be removed. `look` is one of
    /// [`clusters`]' obstacles.
    fn see_that_it_can_be_cloned(
        &self,
        vm_id: &str,
        look: fn(&File, &Path, CloneCall) -> io::Result<Option<String>>,
    ) -> Result<(), SnapshotError> {
        let path = &self.disk.path;
        match look(&self.file, path, self.call) {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => Err(SnapshotError::Incompatible {
                vm_id: vm_id.to_owned(),
                reason: format!("disk {reason}"),
            }),
            Err(error) => Err(SnapshotError::io("cannot read the extent map of", path)(
                error,
            )),
        }
    }

    /// The same of the clone: somebody may have allocated space in the last moment.
    fn see_that_it_can_be_removed(&self, vm_id: &str, clone: &File) -> Result<(), SnapshotError> {
        if self.call != CloneCall::Ocfs2Reflink {
            return Ok(());
        }
        let path = &self.disk.path;
        let failed = SnapshotError::io("cannot read the extent map of the clone of", path);
        match clusters::miscount(clone).map_err(failed)? {
            None => Ok(()),
            Some(miscount) => Err(SnapshotError::Incompatible {
                vm_id: vm_id.to_owned(),
                reason: format!(
                    "disk {} got space past its end while it was cloned, and the clone is damaged: \
                     {miscount}",
                    path.display()
                ),
            }),
        }
    }
}

impl Snapshots {
    /// Takes a snapshot. Blocks; runs to its end or leaves nothing behind. A request with a key that
    /// was used for the same before gets the snapshot of that time.
    ///
    /// # Errors
    /// [`SnapshotError::Incompatible`], [`SnapshotError::NoSpace`], [`SnapshotError::Busy`],
    /// [`SnapshotError::GivenUp`], [`SnapshotError::Stalled`], [`SnapshotError::KeyUsed`],
    /// [`SnapshotError::TooMany`], and the file system's.
    pub fn create(
        &self,
        subject: &Subject,
        wish: &Wish,
        turn: &Turn,
    ) -> Result<Snapshot, SnapshotError> {
        let _vm = self.locks.lock(&subject.vm_id, turn)?;
        let others = self.all(Some(&subject.vm_id))?;
        if let Some(same) = repeated(&others, wish, None)? {
            return Ok(same);
        }
        self.check_count(&subject.vm_id, &others)?;
        let sources = self.open_sources(subject)?;
        let repositories = distinct_repositories(subject);
        for repository in &repositories {
            self.check_space(repository)?;
        }
        let newest = others.last().map(|snapshot| snapshot.manifest.created_at);
        let mut manifest = self.first_manifest(subject, &repositories, newest, wish);
        let shelves: Vec<Shelf> = repositories
            .iter()
            .map(|repository| Shelf::of(&repository.mount_point))
            .collect();
        let mut locks = Vec::new();
        let made = self
            .make_directories(&manifest, &repositories, &mut locks)
            .and_then(|()| self.made_elsewhere(&manifest, wish))
            .and_then(|same| match same {
                Some(same) => Ok(Some(same)),
                None => {
                    turn.take()?;
                    let manifests = others.iter().rev().map(|one| &one.manifest);
                    let pace = Pace {
                        turn,
                        rates: Rates::of(manifests),
                        margin: self.settings.get().storage_timeout,
                    };
                    let clones = self.fill(&mut manifest, subject, wish, &sources, &pace)?;
                    manifest.state = State::Ready;
                    let beside = prepare(&manifest, &clones, &shelves, &pace, &self.faults)?;
                    pace.publishes(manifest.id)?;
                    publish(beside, manifest.id, &shelves, &self.faults)?;
                    turn.stepped();
                    Ok(None)
                }
            });
        match made {
            Ok(None) => {}
            Ok(Some(same)) => {
                undo(&manifest, &repositories, &self.faults);
                return Ok(same);
            }
            Err(error) => {
                if matches!(error, SnapshotError::Stalled { .. }) {
                    // Whoever asked has gone.
                    tracing::warn!(
                        snapshot = %manifest.id,
                        vm = manifest.vm_id,
                        "what hung has ended; nobody waits for it any more, so it is undone"
                    );
                }
                undo(&manifest, &repositories, &self.faults);
                return Err(error);
            }
        }
        for repository in &repositories {
            self.protect_copy(&Shelf::of(&repository.mount_point), &manifest);
            self.faults.pass(Point::CreateProtected);
        }
        self.index(&manifest, &repositories);
        drop(locks);
        tracing::info!(snapshot = %manifest.id, vm = manifest.vm_id, "snapshot taken");
        Ok(Snapshot::made(manifest))
    }

    /// The snapshot that the same request has made before. Blocks.
    ///
    /// # Errors
    /// [`SnapshotError::KeyUsed`] where its key was used for another one, [`SnapshotError::Busy`]
    /// where it is being worked on; the catalog's.
    pub fn made_before(&self, vm_id: &str, wish: &Wish) -> Result<Option<Snapshot>, SnapshotError> {
        if wish.request.is_none() {
            return Ok(None);
        }
        repeated(&self.all(Some(vm_id))?, wish, None)
    }

    /// Whether another node is at the same request, or was faster. This snapshot's directories are
    /// there already: of two nodes at least one sees the other's, and steps back.
    fn made_elsewhere(
        &self,
        manifest: &Manifest,
        wish: &Wish,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        if wish.request.is_none() {
            return Ok(None);
        }
        repeated(&self.all(Some(&manifest.vm_id))?, wish, Some(manifest.id))
    }

    fn check_count(&self, vm_id: &str, others: &[Snapshot]) -> Result<(), SnapshotError> {
        let limit = self.settings.get().max_snapshots_per_vm;
        let count = others
            .iter()
            .filter(|snapshot| snapshot.standing != Standing::Deleting)
            .count();
        if limit > 0 && count >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(SnapshotError::TooMany {
                vm_id: vm_id.to_owned(),
                count,
                limit,
            });
        }
        Ok(())
    }

    /// Puts a new snapshot into the catalog, so that it is known, and waits, when one of its
    /// repositories is unmounted before anybody has asked for it.
    pub(super) fn index(&self, manifest: &Manifest, repositories: &[Repository]) {
        for repository in repositories {
            let stamp = Shelf::of(&repository.mount_point).stamp(manifest.id);
            let Ok(stamp) = stamp else { continue };
            let noted = self.catalog.put(&Copy {
                repository: repository.id.clone(),
                mount_point: repository.mount_point.clone(),
                stamp,
                manifest: manifest.clone(),
            });
            if let Err(error) = noted {
                // It is the next listing's to do then.
                tracing::warn!(snapshot = %manifest.id, "not in the index yet: {error}");
            }
            self.faults.pass(Point::CatalogPut);
        }
    }

    fn open_sources<'s>(&self, subject: &'s Subject) -> Result<Vec<Source<'s>>, SnapshotError> {
        let incompatible = |reason: String| SnapshotError::Incompatible {
            vm_id: subject.vm_id.clone(),
            reason,
        };
        if subject.disks.is_empty() {
            return Err(incompatible("it has no disk to copy".to_owned()));
        }
        subject
            .disks
            .iter()
            .map(|disk| {
                let path = disk.path.display();
                let call = match self.ability(&disk.repository) {
                    Ability::Yes(call) => call,
                    Ability::No(reason) | Ability::Unknown(reason) => {
                        return Err(incompatible(format!("disk {path}: {reason}")));
                    }
                };
                let file = File::options()
                    .read(true)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(&disk.path)
                    .map_err(|error| incompatible(format!("disk {path}: {error}")))?;
                let metadata = file
                    .metadata()
                    .map_err(SnapshotError::io("cannot read", &disk.path))?;
                if !metadata.is_file() {
                    return Err(incompatible(format!("disk {path} is not a regular file")));
                }
                Ok(Source { disk, file, call })
            })
            .collect()
    }

    /// May hang where a node of the pool is dead: it has to come before the operation takes its turn.
    fn check_space(&self, repository: &Repository) -> Result<(), SnapshotError> {
        let path = &repository.mount_point;
        let failed = || SnapshotError::io("cannot ask for the free space of", path);
        let root = File::open(path).map_err(failed())?;
        let ask = || file_system::status(&root).map_err(failed());
        let mut status = ask()?;
        let required = self.settings.get().min_free.bytes_of(status.total);
        if status.available < required {
            // What was deleted a moment ago, OCFS2 still counts as used.
            syncfs::write_out(&root).map_err(SnapshotError::io("cannot write out", path))?;
            status = ask()?;
        }
        if status.available < required {
            return Err(SnapshotError::NoSpace {
                repository: path.display().to_string(),
                available: status.available,
                required,
            });
        }
        Ok(())
    }

    fn first_manifest(
        &self,
        subject: &Subject,
        repositories: &[Repository],
        newest: Option<Timestamp>,
        wish: &Wish,
    ) -> Manifest {
        // Snapshots of a VM are ordered by this, also when a clock was set back between two.
        let now = Timestamp::now();
        let after =
            newest.and_then(|newest| newest.checked_add(SignedDuration::from_micros(1)).ok());
        Manifest {
            version: manifest::VERSION,
            id: Uuid::new_v4(),
            vm_id: subject.vm_id.clone(),
            created_at: after.map_or(now, |after| after.max(now)),
            state: State::Creating,
            node: self.node.clone(),
            repositories: repositories
                .iter()
                .map(|repository| Place {
                    repository: repository.id.clone(),
                    mount_point: repository.mount_point.clone(),
                })
                .collect(),
            disks: subject
                .disks
                .iter()
                .map(|disk| Disk {
                    name: disk.name.clone(),
                    parent_path: disk.path.clone(),
                    repository: disk.repository.id.clone(),
                    size: 0,
                    extents: 0,
                    stall_us: 0,
                    sealed: false,
                    identity: None,
                })
                .collect(),
            warnings: Vec::new(),
            label: wish.label.clone(),
            expires_at: wish.expires_at(now),
            request: wish.request.clone(),
            consistency: Consistency::None,
            pause_us: None,
            adopted: false,
        }
    }

    fn make_directories(
        &self,
        manifest: &Manifest,
        repositories: &[Repository],
        locks: &mut Vec<Flock>,
    ) -> Result<(), SnapshotError> {
        for repository in repositories {
            let shelf = Shelf::of(&repository.mount_point);
            let lock = shelf
                .make_directory(repository, manifest, &self.faults)
                .map_err(SnapshotError::io(
                    "cannot make",
                    &shelf.directory(manifest.id),
                ))?;
            locks.push(lock);
        }
        Ok(())
    }

    /// Clones and seals every disk, and notes in the manifest what they are. The clones, which are
    /// not written out yet.
    fn fill(
        &self,
        manifest: &mut Manifest,
        subject: &Subject,
        wish: &Wish,
        sources: &[Source<'_>],
        pace: &Pace<'_>,
    ) -> Result<Vec<(File, PathBuf)>, SnapshotError> {
        let mut ready = Vec::new();
        let mut extents = Vec::new();
        for source in sources {
            let target = Shelf::of(&source.disk.repository.mount_point)
                .directory(manifest.id)
                .join(&source.disk.name);
            pace.touches("making", &target)?;
            let clone = reflink::prepare(source.call, &source.file, &source.disk.path, &target)
                .map_err(SnapshotError::io("cannot make", &target))?;
            self.faults.pass(Point::CreatePrepared);
            pace.touches("reading the extent map of", &source.disk.path)?;
            source.see_that_it_can_be_cloned(&subject.vm_id, clusters::obstacle_in_all)?;
            extents.push(source.extents()?);
            ready.push((clone, source, target));
        }
        pace.holds(self.settings.get().max_pause + self.settings.get().command_timeout * 2)?;
        let moment = self.one_moment(subject, wish, sources, &extents)?;
        // Nothing but the kernel's own work stands between one disk's moment and the next. Where
        // OCFS2's own call is the only one, that is the look behind the disk's end, too: what it
        // finds must not have come since, or the clone is damaged.
        let clones: Result<Vec<_>, SnapshotError> = ready
            .into_iter()
            .zip(&extents)
            .map(|((clone, source, target), extents)| {
                pace.clones(source, *extents, &target)?;
                source.see_that_it_can_be_cloned(&subject.vm_id, clusters::obstacle)?;
                let cloned = clone
                    .run()
                    .map_err(SnapshotError::io("cannot clone to", &target))?;
                self.faults.pass(Point::CreateCloned);
                Ok((cloned, source, target))
            })
            .collect();
        let stalled = pace.holds(self.settings.get().command_timeout);
        let outcome = moment.over();
        stalled?;
        let clones = clones?
            .into_iter()
            .map(|(cloned, source, target)| {
                let clone = cloned
                    .open()
                    .map_err(SnapshotError::io("cannot open", &target))?;
                Ok((clone, source, target))
            })
            .collect::<Result<Vec<_>, SnapshotError>>()?;
        outcome?.note(manifest);
        let mut unwritten = Vec::new();
        for (disk, ((clone, held), source, target)) in manifest.disks.iter_mut().zip(clones) {
            pace.touches("sealing", &target)?;
            source.see_that_it_can_be_removed(&subject.vm_id, &clone)?;
            let sealed = seal::mark(&clone, &target, self.settings.get().immutable)?;
            disk.size = sealed.identity.size;
            disk.extents = sealed.extents;
            disk.stall_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX);
            disk.sealed = sealed.unsealed.is_none();
            disk.identity = Some(sealed.identity);
            self.faults.pass(Point::CreateSealed);
            if let Some(reason) = sealed.unsealed {
                manifest.warnings.push(format!(
                    "disk {} is not protected against changes: {reason}",
                    disk.name
                ));
            }
            unwritten.push((clone, target));
        }
        Ok(unwritten)
    }
}

/// What taking a snapshot does, step by step, and how long each may take where storage answers.
struct Pace<'p> {
    turn: &'p Turn,
    rates: Rates,
    margin: Duration,
}

impl Pace<'_> {
    fn touches(&self, what: &str, path: &Path) -> Result<(), SnapshotError> {
        let what = format!("{what} {}", path.display());
        self.turn.step(what, self.margin)
    }

    fn holds(&self, most: Duration) -> Result<(), SnapshotError> {
        let what = "holding the machine, or letting go of it";
        self.turn.step(what, self.margin + most)
    }

    fn clones(
        &self,
        source: &Source<'_>,
        extents: u64,
        target: &Path,
    ) -> Result<(), SnapshotError> {
        let most = self.rates.most(&source.disk.repository.id, extents);
        let what = format!(
            "cloning {} to {}",
            source.disk.path.display(),
            target.display()
        );
        self.turn.step(what, self.margin.saturating_add(most))
    }

    fn publishes(&self, id: Uuid) -> Result<(), SnapshotError> {
        let what = format!("writing the manifest of snapshot {id}");
        self.turn.last_step(id, what, self.margin)
    }
}

/// The snapshot that a request with this key has made, other than `own`.
fn repeated(
    others: &[Snapshot],
    wish: &Wish,
    own: Option<Uuid>,
) -> Result<Option<Snapshot>, SnapshotError> {
    let Some(request) = &wish.request else {
        return Ok(None);
    };
    let same_key = others.iter().find(|snapshot| {
        let known = snapshot.manifest.request.as_ref();
        known.is_some_and(|known| known.key == request.key)
            && Some(snapshot.id()) != own
            && snapshot.standing != Standing::Deleting
    });
    let Some(snapshot) = same_key else {
        return Ok(None);
    };
    if snapshot.manifest.request.as_ref() != Some(request) {
        return Err(SnapshotError::KeyUsed {
            key: request.key.clone(),
            id: snapshot.id(),
        });
    }
    let same = snapshot.clone().ready()?;
    let vm = &same.manifest.vm_id;
    tracing::info!(snapshot = %same.id(), vm, "snapshot answered again");
    Ok(Some(same))
}

/// Makes durable all that a ready snapshot needs, and writes manifests that say so beside their
/// places, where they say nothing yet: they go out to the device with the clones.
fn prepare(
    manifest: &Manifest,
    clones: &[(File, PathBuf)],
    shelves: &[Shelf],
    pace: &Pace<'_>,
    faults: &Faults,
) -> Result<Vec<Beside>, SnapshotError> {
    let write_out = || -> Result<(), SnapshotError> {
        for (clone, path) in clones {
            pace.touches("writing out", path)?;
            seal::write_out(clone, path)?;
        }
        for shelf in shelves {
            // Nothing may be ready under a name that a power cut takes back.
            pace.touches("writing out", shelf.root())?;
            shelf
                .sync_names()
                .map_err(SnapshotError::io("cannot write out", shelf.root()))?;
        }
        Ok(())
    };
    let write_beside = |shelf: &Shelf| {
        let written = shelf.write_beside(manifest, faults);
        written.map_err(not_written(shelf, manifest.id))
    };
    let (written_out, beside) =
        durable::meanwhile(write_out, || shelves.iter().map(write_beside).collect());
    written_out.and(beside)
}

/// Says ready, in every repository.
fn publish(
    beside: Vec<Beside>,
    id: Uuid,
    shelves: &[Shelf],
    faults: &Faults,
) -> Result<(), SnapshotError> {
    for (beside, shelf) in beside.into_iter().zip(shelves) {
        shelf::put_in_place(beside, faults).map_err(not_written(shelf, id))?;
        faults.pass(Point::CreatePublished);
    }
    Ok(())
}

fn not_written(shelf: &Shelf, id: Uuid) -> impl FnOnce(io::Error) -> SnapshotError {
    let directory = shelf.directory(id);
    move |error| SnapshotError::io("cannot write the manifest in", &directory)(error)
}

/// Removes what a failed create has made. What cannot be removed now, recovery removes later.
fn undo(manifest: &Manifest, repositories: &[Repository], faults: &Faults) {
    faults.pass(Point::CreateFailed);
    // A manifest may say ready already: it must not while files go.
    for repository in repositories {
        // Where there is no directory yet there is nothing to say.
        let _ = Shelf::of(&repository.mount_point).mark_deleting(manifest, faults);
    }
    for repository in repositories {
        let shelf = Shelf::of(&repository.mount_point);
        if let Err(error) = delete::remove_copy(&shelf, &repository.id, manifest, faults) {
            tracing::warn!(
                snapshot = %manifest.id,
                "what a failed snapshot left is not removed yet, this is tried again: {error}"
            );
        }
    }
}

fn distinct_repositories(subject: &Subject) -> Vec<Repository> {
    let mut repositories: Vec<Repository> = Vec::new();
    for disk in &subject.disks {
        if !repositories
            .iter()
            .any(|known| known.id == disk.repository.id)
        {
            repositories.push(disk.repository.clone());
        }
    }
    // One order everywhere: locks of several directories are taken in it.
    repositories.sort_by(|one, other| one.id.cmp(&other.id));
    repositories
}
