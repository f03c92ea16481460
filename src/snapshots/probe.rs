//! Whether a repository can be used for snapshots: tried, not guessed from its name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::faults::{Faults, Point};
use super::seal;
use super::shelf::{CLONE, Shelf};
use crate::ovm::repository::{Mount, Repository};
use crate::sys::fiemap::{self, ExtentReader};
use crate::sys::reflink::{self, CloneCall};

/// Whether clones can be made on a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// Yes, with this call.
    Yes(CloneCall),
    /// No, with the file system's reason.
    No(String),
    /// It could not be tried: not mounted, full, read-only.
    Unknown(String),
}

/// Tries a clone once per mount and remembers the answer.
///
/// Only an answer that will stand is remembered: *unknown* is tried again.
#[derive(Debug, Default)]
pub struct CloneProbe {
    known: Mutex<HashMap<PathBuf, (u64, Ability)>>,
}

impl CloneProbe {
    /// Whether `repository` can clone.
    #[must_use]
    pub fn ability(&self, repository: &Repository, faults: &Faults) -> Ability {
        let device = match &repository.mount {
            Mount::Missing(reason) | Mount::Silent(reason) => {
                return Ability::Unknown(reason.clone());
            }
            Mount::Mounted { device, .. } => *device,
        };
        let root = &repository.mount_point;
        if !repository.is_still_mounted() {
            // Nothing is made below the bare mount point.
            return Ability::Unknown(format!("{} has just been unmounted", root.display()));
        }
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known_device, ability)) = lock().get(root)
            && *known_device == device
        {
            return ability.clone();
        }
        let ability = attempt(repository, faults);
        if !matches!(ability, Ability::Unknown(_)) {
            lock().insert(root.clone(), (device, ability.clone()));
        }
        ability
    }
}

/// Tries a clone on a repository, for who looks at a node beside its daemon. Nothing is left: the
/// shelf too goes again where it was not there, unless somebody has put something on it meanwhile.
#[must_use]
pub fn try_a_clone(repository: &Repository) -> Ability {
    let shelf = Shelf::of(&repository.mount_point);
    let is_new = !shelf.root().exists();
    let ability = CloneProbe::default().ability(repository, &Faults::default());
    if is_new {
        let _ = fs::remove_dir(shelf.root());
    }
    ability
}

/// Prefix of the two scratch files; recovery removes what a crash leaves of them.
pub const SCRATCH: &str = ".probe-";

/// Clones a scratch file with content and looks at the clone.
fn attempt(repository: &Repository, faults: &Faults) -> Ability {
    let shelf = Shelf::of(&repository.mount_point);
    let unknown = |what: &str, error: &io::Error| {
        Ability::Unknown(format!("{what} {}: {error}", shelf.root().display()))
    };
    if let Err(error) = shelf.make(repository) {
        return unknown("cannot make", &error);
    }
    let name = Uuid::new_v4();
    let source = shelf.root().join(format!("{SCRATCH}{name}"));
    let target = shelf.root().join(format!("{SCRATCH}{name}{CLONE}"));
    let ability = match write_scratch(&source) {
        Err(error) => unknown("cannot write a scratch file in", &error),
        Ok(file) => {
            faults.pass(Point::ProbeWritten);
            clone_scratch(&file, &source, &target)
        }
    };
    faults.pass(Point::ProbeCloned);
    let _ = fs::remove_file(&source);
    let _ = fs::remove_file(&target);
    ability
}

fn write_scratch(path: &Path) -> io::Result<File> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    // Larger than what OCFS2 and btrfs keep inside the inode.
    file.write_all(&[0x5A; 64 << 10])?;
    file.sync_all()?;
    Ok(file)
}

fn clone_scratch(source: &File, source_path: &Path, target: &Path) -> Ability {
    let mut refusals = Vec::new();
    for call in [CloneCall::Ficlone, CloneCall::Ocfs2Reflink] {
        let cloned = reflink::prepare(call, source, source_path, target)
            .and_then(|ready| ready.run()?.open());
        match cloned {
            Ok((clone, _)) => {
                return match usable(&clone) {
                    Ok(()) => Ability::Yes(call),
                    Err(error) if lacks_a_facility(&error) => Ability::No(format!(
                        "it clones files, but its extent maps cannot be used: {error}"
                    )),
                    Err(error) => Ability::Unknown(format!("a trial clone failed: {error}")),
                };
            }
            Err(error) if reflink::is_wrong_call(&error) => {
                let name = match call {
                    CloneCall::Ficlone => "FICLONE",
                    CloneCall::Ocfs2Reflink => "OCFS2_IOC_REFLINK",
                };
                refusals.push(format!("{name}: {error}"));
            }
            Err(error) => return Ability::Unknown(format!("a trial clone failed: {error}")),
        }
    }
    Ability::No(format!(
        "the file system does not clone files ({})",
        refusals.join("; ")
    ))
}

/// An answer that will stand, unlike an I/O error.
fn lacks_a_facility(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || reflink::is_wrong_call(error)
}

/// A clone is of use only with an extent map to compare and an identity to hold it to.
fn usable(clone: &File) -> io::Result<()> {
    seal::identify(clone)?;
    fiemap::count(clone)?;
    // One extent: it need not wait until others have read theirs (`map_turns`).
    ExtentReader::new(clone, 0).try_for_each(|extent| extent.map(drop))
}
