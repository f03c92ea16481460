//! `GET …/vms/{vm}/report`: what a machine's disks hold, read from a snapshot.

use std::io;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::snapshots::snapshots_of;
use super::state::{Shared, in_turn};
use crate::guest;
use crate::protocol::{DiskReport, VmReport};
use crate::snapshots::{Snapshot, Standing};
use crate::sys::aligned::{ALIGNMENT, AlignedBuffer};
use crate::sys::uncached::UncachedFile;

/// Parameters of the report.
#[derive(Debug, Deserialize)]
pub(super) struct ReportQuery {
    snapshot: Option<String>,
}

pub(super) async fn show(
    State(app): State<Shared>,
    Ids(name): Ids<String>,
    Parameters(query): Parameters<ReportQuery>,
) -> Result<Json<VmReport>, ApiError> {
    in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = match &query.snapshot {
            Some(id) => app.for_vm(&name, |vm_id| app.snapshots.find(vm_id, id))?,
            None => newest(&app, &name)?,
        };
        let snapshot = snapshot.ready()?;
        turn.take()?;
        let limit = app.snapshots.storage_timeout();
        turn.reading("reading the manifests of all snapshots", limit)?;
        let stalls = app.snapshots.expected_stalls(&snapshot)?;
        let mut disks = Vec::new();
        for (disk, expected) in snapshot.manifest.disks.iter().zip(&stalls.expected) {
            turn.reading(
                format!("reading disk {} of snapshot {}", disk.name, snapshot.id()),
                limit,
            )?;
            let file = snapshot.open(disk)?;
            let size = file.size();
            disks.push(DiskReport {
                name: disk.name.clone(),
                size,
                extents: disk.extents,
                stall_ms: disk.stall_us.div_ceil(1000),
                expected_stall_ms: milliseconds(*expected),
                contents: guest::look(&mut Sealed::of(file), size),
            });
        }
        turn.stepped();
        let starts = disks.iter().find(|disk| disk.contents.firmware.is_some());
        let all = || {
            disks
                .iter()
                .map(|disk| (disk.name.as_str(), &disk.contents))
        };
        Ok::<_, ApiError>(Json(VmReport {
            vm_id: snapshot.manifest.vm_id.clone(),
            snapshot: snapshot.id(),
            created_at: snapshot.manifest.created_at.to_string(),
            firmware: starts.and_then(|disk| disk.contents.firmware),
            boot_disk: starts.map(|disk| disk.name.clone()),
            extents: disks.iter().map(|disk| disk.extents).sum(),
            expected_stall_ms: milliseconds(stalls.expected.iter().sum()),
            stall_source: stalls.source,
            checks: guest::checks::for_disks(all().map(|(_, contents)| contents)),
            notes: guest::doubles(all()),
            disks,
        }))
    })
    .await
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The latest snapshot of a machine that can be read.
fn newest(app: &Shared, name: &str) -> Result<Snapshot, ApiError> {
    let (vm_id, snapshots) = snapshots_of(app, name)?;
    let usable = snapshots
        .iter()
        .rfind(|one| one.standing == Standing::Ready);
    // One that waits says for what.
    let found = usable.or_else(|| {
        let waits = |one: &&Snapshot| matches!(one.standing, Standing::Waiting(_));
        snapshots.iter().rfind(waits)
    });
    found.cloned().ok_or_else(|| {
        ApiError::NotFound(format!(
            "virtual machine {vm_id} has no snapshot to be read, and its disks themselves are never \
             read: take one first, POST /api/v1/vms/{vm_id}/snapshots"
        ))
    })
}

/// A disk of a snapshot, read past the page cache.
struct Sealed {
    file: UncachedFile,
    buffer: AlignedBuffer,
}

impl Sealed {
    fn of(file: UncachedFile) -> Sealed {
        Sealed {
            file,
            buffer: AlignedBuffer::new(2 * ALIGNMENT),
        }
    }
}

impl guest::Source for Sealed {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let room = bytes.len().next_multiple_of(ALIGNMENT) + ALIGNMENT;
        if self.buffer.len() < room {
            self.buffer = AlignedBuffer::new(room);
        }
        let at = self.file.read_at(&mut self.buffer, offset, bytes.len())?;
        bytes.copy_from_slice(&self.buffer[at..at + bytes.len()]);
        Ok(())
    }
}
