//! A repository: mounted, room, machines, and a clone that is really made.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::finding::{Finding, bytes};
use super::round::Notes;
use crate::config;
use crate::ovm::agent::{AgentDatabases, AgentRepository};
use crate::ovm::inventory::{Inventory, NodeFiles, look_at};
use crate::ovm::repository::{Mount, Repository};
use crate::snapshots::{Ability, clusters, try_a_clone};
use crate::sys::file_system::{Kind, Status};
use crate::sys::reflink::CloneCall;

/// A repository that has answered, with its machines.
pub(super) type LookedAt = (Repository, Inventory);

/// Checks one repository, and puts it into `looked_at` when all that is read of it was read.
pub(super) fn check(
    notes: &Notes,
    known: AgentRepository,
    settings: &config::Snapshots,
    looked_at: &Mutex<Vec<LookedAt>>,
) {
    let id = known.id.clone();
    let found = |finding: Finding| notes.found(finding.of(&id));
    notes.doing("looking at its mount point");
    let repository = look_at(known);
    let status = match &repository.mount {
        Mount::Missing(reason) | Mount::Silent(reason) => {
            let advice = "see why ovs-agent has not mounted it; its machines cannot be copied";
            return found(Finding::bad("mount", reason, advice));
        }
        Mount::Mounted { status, .. } => *status,
    };
    found(mount(&repository, &status));
    found(space(&status, settings));

    notes.next("machines", "reading its virtual machines");
    // Only the repositories matter for this, not the agent's databases.
    let inventory =
        NodeFiles::new(AgentDatabases::new("")).inventory(std::slice::from_ref(&repository));
    for warning in &inventory.warnings {
        let advice = "look at the vm.cfg; the machine is listed, and may not be copied in full";
        found(Finding::warning("machines", warning, advice));
    }
    let message = format!("{} virtual machines", inventory.vms.len());
    found(Finding::good("machines", message));
    let disks = disks_in(&repository, &inventory);
    looked_at
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((repository.clone(), inventory));

    notes.next("clone", "cloning a scratch file");
    let ability = try_a_clone(&repository);
    found(clone(&repository, &status, &ability));
    if let Ability::Yes(call) = ability {
        notes.next("disks", "looking at the ends of the disks");
        for path in disks {
            if let Some(finding) = past_its_end(&path, call) {
                notes.found(finding.of(path.display()));
            }
        }
    }
}

/// The image files in a repository that its machines name.
fn disks_in(repository: &Repository, inventory: &Inventory) -> BTreeSet<PathBuf> {
    let configs = inventory.vms.iter().filter_map(|vm| vm.config.as_ref());
    configs
        .flat_map(|config| &config.disks)
        .filter(|disk| disk.scheme.may_be_file() && !disk.is_read_only_cdrom())
        .map(|disk| PathBuf::from(&disk.path))
        .filter(|path| path.starts_with(&repository.mount_point) && path.is_file())
        .collect()
}

/// A disk that no snapshot is taken of. One that cannot be read is no matter of this check.
fn past_its_end(path: &Path, call: CloneCall) -> Option<Finding> {
    let disk = File::open(path).ok()?;
    let reason = clusters::obstacle(&disk, path, call).ok()??;
    let advice = "truncate -s +0 on it, as root: no snapshot of its machine can be taken before";
    Some(Finding::warning("disks", reason, advice))
}

fn mount(repository: &Repository, status: &Status) -> Finding {
    let alias = repository.alias.as_deref().unwrap_or("without a name");
    let message = format!(
        "{alias:?}, {} on {}",
        status.kind,
        repository.mount_point.display()
    );
    match status.read_only {
        false => Finding::good("mount", message),
        true => Finding::bad(
            "mount",
            format!("{message}: read-only"),
            "see what the kernel's log says of it, and mount it writable",
        ),
    }
}

fn space(status: &Status, settings: &config::Snapshots) -> Finding {
    let least = settings.min_free.bytes_of(status.total);
    let message = format!(
        "{} of {} free, min_free is {}",
        bytes(status.available),
        bytes(status.total),
        bytes(least)
    );
    let advice = "delete snapshots or make room: below min_free no snapshot is taken";
    if status.available < least {
        Finding::bad("space", message, advice)
    } else if status.available < least.saturating_mul(2) {
        Finding::warning("space", message, advice)
    } else {
        Finding::good("space", message)
    }
}

fn clone(repository: &Repository, status: &Status, ability: &Ability) -> Finding {
    match ability {
        Ability::Yes(CloneCall::Ficlone) => Finding::good("clone", "FICLONE works"),
        Ability::Yes(CloneCall::Ocfs2Reflink) => Finding::good("clone", "OCFS2_IOC_REFLINK works"),
        Ability::Unknown(reason) => Finding::bad(
            "clone",
            format!("it could not be tried: {reason}"),
            "no snapshot can be taken there until that is mended",
        ),
        Ability::No(reason) => {
            let advice = match status.kind {
                Kind::Ocfs2 => {
                    "unmount it on all nodes, then tunefs.ocfs2 --fs-features=refcount DEVICE"
                }
                _ => "move disks to a repository on OCFS2, XFS or btrfs: here none can be copied",
            };
            // One that holds no disks, such as ISOs on NFS, is no loss.
            match has_disks(&repository.mount_point) {
                true => Finding::bad("clone", reason, advice),
                false => Finding::warning("clone", format!("{reason}; it has no disks"), advice),
            }
        }
    }
}

fn has_disks(mount_point: &Path) -> bool {
    let listing = fs::read_dir(mount_point.join("VirtualDisks"));
    listing.is_ok_and(|mut listing| listing.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade::{Bad, Good, Warning};
    use super::*;

    #[test]
    fn room_is_told_by_min_free() {
        let settings = config::Snapshots {
            min_free: config::MinFree::Bytes(100),
            ..config::Snapshots::default()
        };
        for (available, grade) in [(99, Bad), (100, Warning), (199, Warning), (200, Good)] {
            let status = Status {
                kind: Kind::Xfs,
                block: 4096,
                total: 1000,
                available,
                read_only: false,
            };
            assert_eq!(space(&status, &settings).grade, grade, "{available}");
        }
    }
}
