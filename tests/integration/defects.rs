//! Each defect of the first generation, by its name: a test here fails if it comes back.
//!
//! These go through the real daemon and are short. Where a module's own tests go deeper, the
//! test here says where.

mod changes;
mod cost;
mod entrance;
mod inventory;
mod limits;
mod nodes;

use std::path::Path;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use serde_json::Value;

use super::support::api::text;
use super::support::disk;

/// Fills a stretch of a disk with random bytes and sees to it that they are on the device.
pub fn write(path: &Path, seed: u64, offset: u64, length: usize) {
    let mut bytes = vec![0; length];
    Random::new(seed).fill(&mut bytes);
    disk::write_through(path, offset, &bytes);
}

/// Start, end and whether it is zero, of the chunks of a snapshot's disk.
fn chunks(snapshot: &Value, disk: usize) -> Vec<(u64, u64, bool)> {
    snapshot["disks"][disk]["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| {
            let (start, length) = (chunk["start"].as_u64(), chunk["length"].as_u64());
            let start = start.unwrap();
            (start, start + length.unwrap(), chunk["zero"] == true)
        })
        .collect()
}

/// How many bytes the chunks of a snapshot's disk name.
fn named(snapshot: &Value, disk: usize) -> u64 {
    chunks(snapshot, disk)
        .iter()
        .map(|(start, end, _)| end - start)
        .sum()
}

/// The path in requests of a snapshot's disk.
fn disk_path(snapshot: &Value, disk: usize) -> String {
    format!(
        "/vms/{}/snapshots/{}/disks/{}",
        text(&snapshot["vm_id"]),
        text(&snapshot["id"]),
        text(&snapshot["disks"][disk]["name"])
    )
}
