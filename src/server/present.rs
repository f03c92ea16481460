//! From what the rooms below know to what goes over the wire.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::extents::squash;
use crate::ovm::domains::{DomainState, Domains};
use crate::ovm::inventory::Vm;
use crate::ovm::repository::{Mount, Repository};
use crate::protocol;
use crate::snapshots::{
    Ability, Comparison, DiskComparison, DiskVerdict, Need, Snapshot, Standing, UnmatchedFolder,
    UnreadableSnapshot,
};

/// A virtual machine with what is known of its disks and snapshots.
pub(super) fn vm(
    vm: &Vm,
    verdicts: Vec<DiskVerdict>,
    compatible: bool,
    snapshots: Vec<Uuid>,
    domains: &Domains,
    shared: bool,
) -> protocol::Vm {
    let (state, on_this_node) = state(vm, domains, shared);
    let Some(config) = &vm.config else {
        return protocol::Vm {
            friendly_name: vm.id.clone(),
            name: vm.id.clone(),
            uuid: String::new(),
            disks: Vec::new(),
            snapshot_compatible: false,
            snapshots,
            id: vm.id.clone(),
            vcpus: None,
            memory_mib: None,
            nics: Vec::new(),
            domain_type: None,
            os_type: None,
            boot_order: None,
            state,
            on_this_node,
            warnings: vm.warnings.clone(),
        };
    };
    let mut warnings = vm.warnings.clone();
    for (disk, verdict) in config.disks.iter().zip(&verdicts) {
        if let (Need::Copy, Err(obstacle)) = (verdict.need, &verdict.cloneable) {
            warnings.push(format!(
                "disk {} cannot be snapshotted: {}",
                disk.device_name, obstacle.reason
            ));
        }
    }
    let disks = config
        .disks
        .iter()
        .zip(verdicts)
        .map(|(disk, verdict)| protocol::VmDisk {
            name: verdict.name,
            path: disk.path.clone(),
            device_name: disk.device_name.clone(),
            snapshot_compatible: verdict.cloneable.is_ok() && verdict.need == Need::Copy,
            mode: disk.mode.as_str().to_owned(),
            size: verdict.size,
            cdrom: disk.is_cdrom,
            reason: match verdict.need {
                Need::None => Some("a read-only CD is not copied".to_owned()),
                Need::Copy => verdict.cloneable.err().map(|obstacle| obstacle.reason),
            },
        })
        .collect();
    protocol::Vm {
        friendly_name: config.friendly_name.clone(),
        name: config.name.clone(),
        uuid: config.uuid.clone(),
        disks,
        snapshot_compatible: compatible,
        snapshots,
        id: vm.id.clone(),
        vcpus: config.vcpus,
        memory_mib: config.memory_mib,
        nics: config
            .nics
            .iter()
            .map(|nic| protocol::Nic {
                mac: nic.mac.clone(),
                bridge: nic.bridge.clone(),
            })
            .collect(),
        domain_type: config.domain_type.clone(),
        os_type: config.os_type.clone(),
        boot_order: config.boot_order.clone(),
        state,
        on_this_node,
        warnings,
    }
}

/// What a machine does, and whether it is here. `shared`: other nodes see its repository too.
fn state(vm: &Vm, domains: &Domains, shared: bool) -> (protocol::VmState, Option<bool>) {
    use protocol::VmState::{Elsewhere, Off, Paused, Running, Unknown};
    let Some(config) = vm.config.as_ref().filter(|config| config.name_is_certain) else {
        return (Unknown, None);
    };
    match domains.state(&config.name) {
        DomainState::Running => (Running, Some(true)),
        DomainState::Paused => (Paused, Some(true)),
        DomainState::Shutdown | DomainState::Crashed | DomainState::Dying => (Off, Some(true)),
        DomainState::Off if shared => (Elsewhere, Some(false)),
        DomainState::Off => (Off, Some(false)),
        DomainState::Unknown => (Unknown, None),
    }
}

/// A repository.
pub(super) fn repository(repository: &Repository, ability: &Ability) -> protocol::RepositoryInfo {
    let status = repository.status();
    let (reflink, reflink_reason) = match ability {
        Ability::Yes(_) => (protocol::Reflink::Yes, None),
        Ability::No(reason) => (protocol::Reflink::No, Some(reason.clone())),
        Ability::Unknown(reason) => (protocol::Reflink::Unknown, Some(reason.clone())),
    };
    let (state, reason) = match &repository.mount {
        Mount::Mounted { .. } => ("mounted", None),
        Mount::Missing(reason) | Mount::Silent(reason) => ("missing", Some(reason.clone())),
    };
    protocol::RepositoryInfo {
        id: repository.id.clone(),
        alias: repository.alias.clone(),
        mount_point: repository.mount_point.clone(),
        state: state.to_owned(),
        reason,
        file_system: status.map(|status| status.kind.to_string()),
        reflink,
        reflink_reason,
        free_bytes: status.map(|status| status.available),
        total_bytes: status.map(|status| status.total),
    }
}

/// A snapshot with its chunks.
pub(super) fn snapshot(comparison: Comparison, join: bool) -> protocol::Snapshot {
    let manifest = comparison.snapshot.manifest;
    protocol::Snapshot {
        id: manifest.id,
        vm_id: manifest.vm_id,
        disks: comparison
            .disks
            .into_iter()
            .map(|compared| disk(manifest.id, compared, comparison.base.is_some(), join))
            .collect(),
        created_at: Some(manifest.created_at),
        compare_to: comparison.base,
        warnings: manifest.warnings,
        label: manifest.label,
        expires_at: manifest.expires_at,
        consistency: manifest.consistency,
        pause_ms: manifest.pause_us.map(milliseconds),
        adopted: manifest.adopted,
    }
}

/// A snapshot in the list of all.
pub(super) fn entry(
    snapshot: &Snapshot,
    now: Timestamp,
    exclusive_bytes: Option<u64>,
) -> protocol::SnapshotEntry {
    use protocol::SnapshotState;
    let (state, reason) = match &snapshot.standing {
        Standing::Ready => (SnapshotState::Ready, None),
        Standing::Creating => (SnapshotState::Creating, None),
        Standing::Deleting => (SnapshotState::Deleting, None),
        Standing::Waiting(reason) => (SnapshotState::Waiting, Some(reason.clone())),
        Standing::Broken(reason) => (SnapshotState::Broken, Some(reason.clone())),
    };
    let manifest = &snapshot.manifest;
    let age = now.duration_since(manifest.created_at).as_secs();
    protocol::SnapshotEntry {
        id: manifest.id,
        vm_id: Some(manifest.vm_id.clone()),
        state,
        reason,
        created_at: Some(manifest.created_at),
        // A clock that was set back makes nothing younger than new.
        age_seconds: Some(u64::try_from(age).unwrap_or(0)),
        label: manifest.label.clone(),
        expires_at: manifest.expires_at,
        consistency: manifest.consistency,
        adopted: manifest.adopted,
        node: Some(manifest.node.clone()),
        disks: manifest
            .disks
            .iter()
            .map(|disk| disk.name.clone())
            .collect(),
        size: manifest.disks.iter().map(|disk| disk.size).sum(),
        exclusive_bytes,
        idempotency_key: manifest.request.as_ref().map(|request| request.key.clone()),
    }
}

/// A folder that is named like a snapshot and is none, in the list of all.
pub(super) fn unmatched_entry(folder: &UnmatchedFolder) -> protocol::SnapshotEntry {
    protocol::SnapshotEntry {
        state: protocol::SnapshotState::Unmatched,
        reason: Some(format!("{}: {}", folder.path.display(), folder.reason)),
        disks: folder.files.clone(),
        size: folder.size,
        ..entry_without_manifest(folder.id)
    }
}

/// A snapshot of which only the place is known, in the list of all.
pub(super) fn unreadable_entry(snapshot: &UnreadableSnapshot) -> protocol::SnapshotEntry {
    let directory = snapshot.directory.display();
    protocol::SnapshotEntry {
        vm_id: snapshot.vm_id.clone(),
        reason: Some(format!("{directory}: {}", snapshot.reason)),
        ..entry_without_manifest(snapshot.id)
    }
}

/// What can be said of a folder by its name alone.
fn entry_without_manifest(id: Uuid) -> protocol::SnapshotEntry {
    protocol::SnapshotEntry {
        id,
        vm_id: None,
        state: protocol::SnapshotState::Unreadable,
        reason: None,
        created_at: None,
        age_seconds: None,
        label: None,
        expires_at: None,
        consistency: protocol::Consistency::None,
        adopted: false,
        node: None,
        disks: Vec::new(),
        size: 0,
        exclusive_bytes: None,
        idempotency_key: None,
    }
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1000.0
}

fn disk(
    snapshot_id: Uuid,
    compared: DiskComparison,
    has_base: bool,
    join: bool,
) -> protocol::SnapshotDisk {
    let ranges = if join {
        squash(compared.ranges)
    } else {
        compared.ranges
    };
    let disk = compared.disk;
    protocol::SnapshotDisk {
        parent_path: disk.parent_path,
        path: compared.path,
        snapshot_id,
        chunks: ranges.into_iter().map(protocol::Chunk::from).collect(),
        name: disk.name,
        repo_mountpoint: compared.mount_point,
        size: disk.size,
        extents: disk.extents,
        stall_ms: milliseconds(disk.stall_us),
        sealed: disk.sealed,
        base: has_base.then_some(compared.base),
        method: has_base.then(|| compared.method.as_str().to_owned()),
        reason: compared.reason,
    }
}
