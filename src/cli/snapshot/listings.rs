//! Snapshots as rows.

use serde_json::{Value, json};

use crate::cli::output::{Cell, Listing};
use crate::cli::{size, subject};
use crate::protocol::{Snapshot, SnapshotDisk, SnapshotEntry};

/// Those of one machine.
pub fn of_machine(snapshots: &[Snapshot]) -> Listing {
    let mut listing = Listing::new(
        &["Snapshot ID"],
        &[
            "Created",
            "Label",
            "Expires",
            "Consistency",
            "Disks",
            "Size",
        ],
    );
    for snapshot in snapshots {
        listing.push([
            snapshot.id.to_string().into(),
            Cell::time(snapshot.created_at),
            snapshot.label.as_deref().into(),
            Cell::time(snapshot.expires_at),
            snapshot.consistency.as_str().into(),
            snapshot.disks.len().into(),
            Cell::bytes(snapshot.disks.iter().map(|disk| disk.size).sum()),
        ]);
    }
    listing
}

/// Those of all machines.
pub fn of_all(entries: &[SnapshotEntry]) -> Listing {
    let mut listing = Listing::new(
        &["Snapshot ID"],
        &[
            "VM ID", "State", "Created", "Label", "Expires", "Disks", "Size", "Alone", "Node",
            "Reason",
        ],
    );
    for entry in entries {
        listing.push([
            entry.id.to_string().into(),
            entry.vm_id.as_deref().into(),
            subject::state(entry.state).into(),
            Cell::time(entry.created_at),
            entry.label.as_deref().into(),
            Cell::time(entry.expires_at),
            entry.disks.len().into(),
            Cell::bytes(entry.size),
            entry
                .exclusive_bytes
                .map_or_else(Cell::nothing, Cell::bytes),
            entry.node.as_deref().into(),
            entry.reason.as_deref().into(),
        ]);
    }
    listing
}

/// All about one.
pub fn one(snapshot: &Snapshot) -> Listing {
    about(snapshot, disk_value)
}

/// The same of one that came without the ranges of its disks.
pub fn one_without_ranges(snapshot: &Snapshot) -> Listing {
    about(snapshot, |disk| {
        let mut value = disk_value(disk);
        value["data"] = Value::Null;
        value["chunks"] = Value::Null;
        value
    })
}

fn about(snapshot: &Snapshot, disk_value: impl Fn(&SnapshotDisk) -> Value) -> Listing {
    let mut listing = Listing::new(
        &["Snapshot ID", "VM ID", "Disks"],
        &[
            "Created",
            "Label",
            "Expires",
            "Consistency",
            "Pause ms",
            "Adopted",
            "Disk details",
            "Warnings",
        ],
    );
    let names: Vec<&str> = snapshot
        .disks
        .iter()
        .map(|disk| disk.name.as_str())
        .collect();
    listing.push([
        snapshot.id.to_string().into(),
        snapshot.vm_id.as_str().into(),
        Cell::lines(&names),
        Cell::time(snapshot.created_at),
        snapshot.label.as_deref().into(),
        Cell::time(snapshot.expires_at),
        snapshot.consistency.as_str().into(),
        snapshot.pause_ms.into(),
        snapshot.adopted.into(),
        Cell::new(
            snapshot.disks.iter().map(disk_line),
            snapshot.disks.iter().map(disk_value).collect(),
        ),
        Cell::new(snapshot.warnings.iter().cloned(), json!(snapshot.warnings)),
    ]);
    listing
}

/// What it holds, holes left out.
fn data(disk: &SnapshotDisk) -> u64 {
    let data = disk.chunks.iter().filter(|chunk| !chunk.zero);
    data.map(|chunk| chunk.length).sum()
}

fn disk_line(disk: &SnapshotDisk) -> String {
    let mut line = format!(
        "{} {}, {} extents, held for {:.1} ms",
        disk.name,
        size::text(disk.size),
        disk.extents,
        disk.stall_ms
    );
    if !disk.chunks.is_empty() {
        line += &format!(", {} of data", size::text(data(disk)));
    }
    if let Some(reason) = &disk.reason {
        line += &format!(": {reason}");
    }
    line
}

fn disk_value(disk: &SnapshotDisk) -> Value {
    json!({
        "name": disk.name,
        "size": disk.size,
        "data": data(disk),
        "chunks": disk.chunks.len(),
        "extents": disk.extents,
        "stall_ms": disk.stall_ms,
        "sealed": disk.sealed,
        "path": disk.path,
        "parent_path": disk.parent_path,
        "reason": disk.reason,
    })
}
