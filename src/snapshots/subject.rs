//! Whether a virtual machine can be snapshotted, disk by disk.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Snapshots;
use super::clusters;
use super::create::{Subject, SubjectDisk};
use super::error::SnapshotError;
use super::naming::disk_names;
use super::probe::Ability;
use crate::ovm::inventory::Vm;
use crate::ovm::repository::{self, Repository};
use crate::ovm::vm_config::{DiskEntry, VmConfig};
use crate::sys::reflink::CloneCall;

/// What can be said of one disk of a machine.
#[derive(Debug, Clone)]
pub struct DiskVerdict {
    /// The name that its file has in a snapshot.
    pub name: String,
    /// Whether it can be cloned, or why not.
    pub cloneable: Result<Repository, Obstacle>,
    /// Whether a snapshot must have it.
    pub need: Need,
    /// Bytes, where its file can be read.
    pub size: Option<u64>,
}

/// Why a disk cannot be cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// In words for people.
    pub reason: String,
    /// It may pass by itself: the repository is not mounted, full, or read-only.
    pub passing: bool,
}

impl Obstacle {
    fn lasting(reason: String) -> Obstacle {
        Obstacle {
            reason,
            passing: false,
        }
    }
}

/// Whether a snapshot must have a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it the copy of the machine would be incomplete.
    Copy,
    /// A read-only CD: neither blocks nor joins a snapshot.
    None,
}

/// What people know a disk by: its device in the guest; the whole entry where that has none.
fn label(disk: &DiskEntry) -> String {
    if disk.device_name.is_empty() {
        format!("{:?}", disk.raw)
    } else {
        disk.device_name.clone()
    }
}

/// Whether a path, with every symbolic link followed, ends outside a repository.
fn leads_out(path: &Path, mount_point: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(mount_point)) {
        (Ok(path), Ok(mount_point)) => !path.starts_with(mount_point),
        _ => true,
    }
}

/// Why a disk that exists must not be cloned as it is. What cannot be read is found again when it is to be
/// cloned.
fn past_its_end(path: &Path, call: CloneCall) -> Option<String> {
    let disk = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    clusters::obstacle(&disk, path, call).ok()?
}

/// Refuses names that no disk of the machine has, and those of CDs.
fn see_that_there_are(wanted: &[String], verdicts: &[DiskVerdict]) -> Result<(), SnapshotError> {
    let names: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| verdict.need == Need::Copy)
        .map(|verdict| verdict.name.as_str())
        .collect();
    match wanted.iter().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(SnapshotError::Refused(format!(
            "the machine has no disk {name:?} to copy; it has {}",
            names.join(", ")
        ))),
    }
}

impl Snapshots {
    /// Judges every disk of a machine, in the order of its vm.cfg.
    #[must_use]
    pub fn judge(&self, config: &VmConfig, repositories: &[Repository]) -> Vec<DiskVerdict> {
        let paths: Vec<&Path> = config
            .disks
            .iter()
            .map(|disk| Path::new(&disk.path))
            .collect();
        disk_names(&paths)
            .into_iter()
            .zip(&config.disks)
            .map(|(name, disk)| {
                let found = fs::metadata(&disk.path);
                DiskVerdict {
                    name,
                    need: if disk.is_read_only_cdrom() {
                        Need::None
                    } else {
                        Need::Copy
                    },
                    size: found
                        .as_ref()
                        .ok()
                        .filter(|found| found.is_file())
                        .map(fs::Metadata::len),
                    cloneable: self.cloneable(disk, found, repositories),
                }
            })
            .collect()
    }

    fn cloneable(
        &self,
        disk: &DiskEntry,
        found: std::io::Result<fs::Metadata>,
        repositories: &[Repository],
    ) -> Result<Repository, Obstacle> {
        let lasting = |reason: String| Err(Obstacle::lasting(reason));
        if let Some(problem) = disk.problem {
            return lasting(problem.to_string());
        }
        if disk.path.is_empty() {
            return lasting("the drive is empty".to_owned());
        }
        if !disk.scheme.may_be_file() {
            return lasting(format!(
                "{} is not an image file (a LUN or a network disk cannot be cloned by reflink)",
                disk.path
            ));
        }
        let path = Path::new(&disk.path);
        let repository = repository::containing(repositories, path).ok_or_else(|| {
            Obstacle::lasting(format!("{} lies in no repository of this node", disk.path))
        })?;
        let of_repository = |reason: &str, passing| {
            Err(Obstacle {
                reason: format!(
                    "repository {} ({}): {reason}",
                    repository.id,
                    repository.mount_point.display()
                ),
                passing,
            })
        };
        if let Some(reason) = repository.mount.absence() {
            return of_repository(reason, true);
        }
        match found {
            Err(error) => return lasting(format!("{}: {error}", disk.path)),
            Ok(found) if !found.is_file() => {
                return lasting(format!("{} is not a regular file", disk.path));
            }
            Ok(_) if leads_out(path, &repository.mount_point) => {
                return lasting(format!(
                    "{} is a symbolic link out of its repository",
                    disk.path
                ));
            }
            Ok(_) => {}
        }
        match self.ability(repository) {
            Ability::Yes(call) => match past_its_end(path, call) {
                Some(reason) => lasting(reason),
                None => Ok(repository.clone()),
            },
            Ability::No(reason) => of_repository(&reason, false),
            Ability::Unknown(reason) => of_repository(&reason, true),
        }
    }

    /// Why a machine as a whole cannot be snapshotted, whatever its disks.
    fn obstacle(vm: &Vm) -> Option<String> {
        match &vm.config {
            None => Some(format!(
                "its vm.cfg cannot be read: {}",
                vm.warnings.join("; ")
            )),
            Some(_) if vm.ambiguous => Some(vm.warnings.join("; ")),
            Some(config) if !config.disks_complete => Some(format!(
                "its vm.cfg does not say for certain which disks it has: {}",
                vm.warnings.join("; ")
            )),
            Some(_) => None,
        }
    }

    /// Whether every disk that must be copied can be cloned.
    #[must_use]
    pub fn is_compatible(&self, vm: &Vm, verdicts: &[DiskVerdict]) -> bool {
        Self::obstacle(vm).is_none()
            && verdicts.iter().any(|disk| disk.need == Need::Copy)
            && verdicts
                .iter()
                .all(|disk| disk.need == Need::None || disk.cloneable.is_ok())
    }

    /// What a snapshot of a machine has to clone: every disk that must be copied, or those of these
    /// names.
    ///
    /// # Errors
    /// [`SnapshotError::Incompatible`], naming every disk that stands in the way;
    /// [`SnapshotError::Refused`] for a name that the machine has not.
    pub fn subject(
        &self,
        vm: &Vm,
        repositories: &[Repository],
        wanted: Option<&[String]>,
    ) -> Result<Subject, SnapshotError> {
        let incompatible = |reason: String| SnapshotError::Incompatible {
            vm_id: vm.id.clone(),
            reason,
        };
        if let Some(obstacle) = Self::obstacle(vm) {
            return Err(incompatible(obstacle));
        }
        let config = vm.config.as_ref();
        let disks = config
            .map(|config| config.disks.as_slice())
            .unwrap_or_default();
        let verdicts = config
            .map(|config| self.judge(config, repositories))
            .unwrap_or_default();
        if let Some(wanted) = wanted {
            see_that_there_are(wanted, &verdicts)?;
        }
        let is_wanted = |verdict: &DiskVerdict| match wanted {
            None => verdict.need == Need::Copy,
            Some(wanted) => wanted.contains(&verdict.name),
        };
        let mut subject = Subject {
            vm_id: vm.id.clone(),
            domain: config
                .filter(|config| config.name_is_certain)
                .map(|config| config.name.clone()),
            disks: Vec::new(),
        };
        let mut obstacles = Vec::new();
        let mut passing = true;
        for (disk, verdict) in disks.iter().zip(verdicts) {
            if !is_wanted(&verdict) {
                continue;
            }
            match verdict.cloneable {
                Err(obstacle) => {
                    passing &= obstacle.passing;
                    obstacles.push(format!("disk {}: {}", label(disk), obstacle.reason));
                }
                Ok(repository) => {
                    let path = PathBuf::from(&disk.path);
                    if !subject.disks.iter().any(|known| known.path == path) {
                        subject.disks.push(SubjectDisk {
                            name: verdict.name,
                            path,
                            repository,
                        });
                    }
                }
            }
        }
        if !obstacles.is_empty() {
            let reason = obstacles.join("; ");
            return Err(if passing {
                SnapshotError::NotNow {
                    vm_id: vm.id.clone(),
                    reason,
                }
            } else {
                incompatible(reason)
            });
        }
        if subject.disks.is_empty() {
            return Err(incompatible("it has no disk to copy".to_owned()));
        }
        Ok(subject)
    }
}
