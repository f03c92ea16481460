//! Comparing two snapshots of a VM: what a replica of the older one must fetch to become the newer.
//!
//! 1. Both files are open and are what was sealed.
//! 2. Both maps are read and swept, then both are read again. If either has moved in between, the
//!    comparison is made anew; a map that keeps moving is not trusted, and bytes are compared.
//! 3. Where the maps name too much (opaque extents, or a file system that copies in large units)
//!    the bytes of both snapshots decide.
//!
//! No map is ever stored: a map that was true when it was written may be wrong now.

use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use super::Snapshots;
use super::content::{self, Sides};
use super::error::SnapshotError;
use super::faults::Point;
use super::manifest::Disk;
use super::snapshot::Snapshot;
use crate::extents::{
    Change, Content, Fingerprint, Fingerprinting, Range, Segment, Segments, sweep,
};
use crate::sys::attributes;
use crate::sys::fiemap::ExtentReader;
use crate::sys::file_system::{self, Kind};
use crate::sys::uncached::UncachedFile;

/// How often moving maps are read again before bytes are compared.
const ATTEMPTS: usize = 4;

/// Whether to look at bytes where the maps name a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refine {
    /// Never.
    None,
    /// Where the maps cannot tell (opaque extents) or the file system copies in large units.
    #[default]
    Auto,
    /// Everywhere, in blocks of 4 KiB.
    Blocks,
}

/// How a comparison was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By extent maps, refined where asked for.
    Extents,
    /// By bytes, from end to end.
    Content,
}

/// What a snapshot is compared to, and what came out.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The base, if there was one.
    pub base: Option<Uuid>,
    /// Every disk of the snapshot.
    pub disks: Vec<DiskComparison>,
}

/// What of one disk must be fetched.
#[derive(Debug, Clone)]
pub struct DiskComparison {
    /// The disk.
    pub disk: Disk,
    /// Where its file is on this node.
    pub path: PathBuf,
    /// The mount point of the repository that holds it.
    pub mount_point: PathBuf,
    /// The snapshot that it was compared to; None where that has no such disk.
    pub base: Option<Uuid>,
    /// How.
    pub method: Method,
    /// Why not by maps, where not.
    pub reason: Option<String>,
    /// Sorted, not overlapping, inside the disk. With a base: what changed. Without one: the
    /// data; where a base was asked for and has no such disk, zeros too, to tile the disk.
    pub ranges: Vec<Range>,
}

impl Snapshots {
    /// The allocated ranges of every disk of a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`], [`SnapshotError::Unavailable`], the file system's.
    pub fn allocated(&self, snapshot: Snapshot) -> Result<Comparison, SnapshotError> {
        let snapshot = snapshot.ready()?;
        let disks = snapshot
            .manifest
            .disks
            .iter()
            .map(|disk| full(&snapshot, disk, false))
            .collect::<Result<_, _>>()?;
        Ok(Comparison {
            base: None,
            disks,
            snapshot,
        })
    }

    /// What changed in a snapshot since `base`, an older one of the same VM.
    ///
    /// # Errors
    /// [`SnapshotError::BaseGone`], [`SnapshotError::BaseNotOlder`], [`SnapshotError::OtherVm`],
    /// [`SnapshotError::Changed`] where either is not what was sealed, the file system's.
    pub fn compare(
        &self,
        snapshot: Snapshot,
        base: &str,
        refine: Refine,
    ) -> Result<Comparison, SnapshotError> {
        let snapshot = snapshot.ready()?;
        let base = self
            .find(&snapshot.manifest.vm_id, base)
            .map_err(base_gone)?;
        let age = |snapshot: &Snapshot| (snapshot.manifest.created_at, snapshot.id());
        if base.id() == snapshot.id() || age(&base) > age(&snapshot) {
            return Err(SnapshotError::BaseNotOlder {
                id: snapshot.id(),
                base: base.id(),
            });
        }
        let base = base.ready().map_err(base_gone)?;
        let disks = snapshot
            .manifest
            .disks
            .iter()
            .map(|disk| match base.manifest.disk_of(&disk.parent_path) {
                Some(base_disk) => compare_disk(&snapshot, disk, &base, base_disk, refine),
                None => full(&snapshot, disk, true),
            })
            .inspect(|_| self.faults.pass(Point::CompareDisk))
            .collect::<Result<_, _>>()?;
        Ok(Comparison {
            base: Some(base.id()),
            disks,
            snapshot,
        })
    }
}

fn base_gone(error: SnapshotError) -> SnapshotError {
    match error {
        SnapshotError::Unknown { id, .. } => SnapshotError::BaseGone { id },
        // A part of it is as good as none.
        SnapshotError::Broken { id, .. } => SnapshotError::BaseGone { id: id.to_string() },
        other => other,
    }
}

/// A disk without a base: its data, and its zeros where the caller's target may hold anything.
fn full(snapshot: &Snapshot, disk: &Disk, zeros: bool) -> Result<DiskComparison, SnapshotError> {
    let file = snapshot.open(disk)?;
    let ranges = segments(&file)
        .filter(|segment| {
            zeros
                || !matches!(
                    segment,
                    Ok(Segment {
                        content: Content::Zero,
                        ..
                    })
                )
        })
        .map(|segment| segment.map(Range::from))
        .collect::<io::Result<Vec<Range>>>()
        .map_err(|source| unreadable_map(snapshot, disk, source))?;
    outcome(snapshot, disk, None, Method::Extents, None, ranges)
}

fn compare_disk(
    snapshot: &Snapshot,
    disk: &Disk,
    base: &Snapshot,
    base_disk: &Disk,
    refine: Refine,
) -> Result<DiskComparison, SnapshotError> {
    let before = base.open(base_disk).map_err(base_gone)?;
    let now = snapshot.open(disk)?;
    let (method, reason, changes) = match comparable(&before, &now) {
        Err(reason) => (Method::Content, Some(reason), Vec::new()),
        Ok(()) => match sandwich(&before, &now) {
            Ok(Some(changes)) => (Method::Extents, None, changes),
            Ok(None) => (
                Method::Content,
                Some(format!(
                    "the extent maps moved during each of {ATTEMPTS} readings"
                )),
                Vec::new(),
            ),
            Err(source) => return Err(unreadable_map(snapshot, disk, source)),
        },
    };
    let sides = Sides {
        base: &before,
        current: &now,
    };
    let bytes = |source| SnapshotError::Io {
        what: "cannot compare the bytes of",
        path: snapshot.path(disk).unwrap_or_default(),
        source,
    };
    let ranges = match method {
        Method::Content => content::differences(&sides, 0, now.size()).map_err(bytes)?,
        Method::Extents => {
            let coarse = copies_in_large_units(&now);
            let mut ranges = Vec::new();
            for change in changes {
                let look = match refine {
                    Refine::None => false,
                    Refine::Auto => coarse || change.uncertain,
                    Refine::Blocks => true,
                };
                if look {
                    let Segment { start, length, .. } = change.segment;
                    ranges.extend(content::differences(&sides, start, length).map_err(bytes)?);
                } else {
                    ranges.push(Range::from(change.segment));
                }
            }
            ranges
        }
    };
    outcome(snapshot, disk, Some(base.id()), method, reason, ranges)
}

/// Addresses mean the same only on one and the same file system.
fn comparable(before: &UncachedFile, now: &UncachedFile) -> Result<(), String> {
    let uuid =
        |file: &UncachedFile| file_system::uuid(file.file()).map_err(|error| error.to_string());
    if uuid(before)? != uuid(now)? {
        return Err("the two snapshots lie on different file systems".to_owned());
    }
    if [before, now]
        .iter()
        .any(|file| attributes::is_realtime(file.file()))
    {
        return Err("a snapshot lies on a realtime device".to_owned());
    }
    Ok(())
}

/// Sweeps both maps and reads both again. None while one of them moves.
fn sandwich(before: &UncachedFile, now: &UncachedFile) -> io::Result<Option<Vec<Change>>> {
    for _ in 0..ATTEMPTS {
        let mut comparison = sweep(
            Fingerprinting::new(segments(before)),
            Fingerprinting::new(segments(now)),
        );
        let changes = comparison.by_ref().collect::<io::Result<Vec<Change>>>()?;
        let (mut base, current) = comparison.into_parts();
        // The sweep leaves the base where the current snapshot ends.
        base.by_ref().try_for_each(|segment| segment.map(drop))?;
        let first = (base.fingerprint(), current.fingerprint());
        let again = (
            Fingerprint::of(segments(before))?,
            Fingerprint::of(segments(now))?,
        );
        if first == again {
            return Ok(Some(changes));
        }
    }
    Ok(None)
}

fn segments(file: &UncachedFile) -> Segments<ExtentReader<'_>> {
    Segments::new(ExtentReader::new(file.file(), 0), file.size(), 0)
}

/// OCFS2 copies a megabyte for a block written.
fn copies_in_large_units(file: &UncachedFile) -> bool {
    file_system::status(file.file()).is_ok_and(|status| status.kind == Kind::Ocfs2)
}

fn unreadable_map(snapshot: &Snapshot, disk: &Disk, source: io::Error) -> SnapshotError {
    SnapshotError::Io {
        what: "cannot read the extent map of",
        path: snapshot.path(disk).unwrap_or_default(),
        source,
    }
}

fn outcome(
    snapshot: &Snapshot,
    disk: &Disk,
    base: Option<Uuid>,
    method: Method,
    reason: Option<String>,
    ranges: Vec<Range>,
) -> Result<DiskComparison, SnapshotError> {
    let (Some(path), Some(mount_point)) = (snapshot.path(disk), snapshot.mount_point(disk)) else {
        return Err(SnapshotError::Unavailable {
            id: snapshot.id(),
            reason: format!("repository {} is not mounted", disk.repository),
        });
    };
    Ok(DiskComparison {
        disk: disk.clone(),
        path,
        mount_point,
        base,
        method,
        reason,
        ranges,
    })
}
