//! Comparing two snapshots of a VM: what a replica of the older one must fetch to become the newer.
//!
//! [`Walk`] goes over one disk; here stand the rules by which a base is taken or refused, and what
//! becomes of it for all disks at once.

use std::path::PathBuf;

use uuid::Uuid;

use super::Snapshots;
use super::error::SnapshotError;
use super::faults::Point;
use super::manifest::Disk;
use super::snapshot::Snapshot;
use super::walk::Walk;
use crate::extents::{Range, RangeKind};
use crate::protocol::Refine;

/// How a comparison was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By extent maps, refined where asked for.
    Extents,
    /// By bytes, from end to end.
    Content,
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Extents => "extents",
            Method::Content => "content",
        }
    }
}

/// What to do without the base that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBaseLost {
    /// Say so.
    #[default]
    Refuse,
    /// Answer with all of the disk.
    Full,
}

/// What is asked about a disk.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// An older snapshot; None for all of the disk.
    pub base: Option<String>,
    /// Whether to look at bytes.
    pub refine: Refine,
    /// Where that base is gone, or is no longer what was sealed.
    pub on_base_lost: OnBaseLost,
    /// Where to begin on the disk, bytes.
    pub from: u64,
    /// Where to end, bytes; None for the disk's end.
    pub to: Option<u64>,
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
        by_itself(snapshot, |walk| {
            // Bounded by the map's length: nobody would wait long for it in vain.
            let (walk, mut ranges) = self.all_of(walk, &|| true)?;
            ranges.retain(|range| range.kind == RangeKind::Data);
            Ok((walk, ranges))
        })
    }

    /// The disks of a snapshot without their ranges: no map is read.
    ///
    /// # Errors
    /// As [`Snapshots::allocated`].
    pub fn described(&self, snapshot: Snapshot) -> Result<Comparison, SnapshotError> {
        by_itself(snapshot, |walk| Ok((walk, Vec::new())))
    }

    /// The same as the manifest has them: no file is opened, so nothing can be wrong with one.
    ///
    /// # Errors
    /// [`SnapshotError::Unavailable`], [`SnapshotError::Broken`].
    pub fn as_written(&self, snapshot: Snapshot) -> Result<Comparison, SnapshotError> {
        let snapshot = snapshot.ready()?;
        let disks = snapshot
            .manifest
            .disks
            .iter()
            .map(|disk| unread(&snapshot, disk))
            .collect::<Result<_, _>>()?;
        Ok(Comparison {
            base: None,
            disks,
            snapshot,
        })
    }

    /// What changed in a snapshot since `base`, an older one of the same VM. Comparing bytes may take
    /// hours: it ends where `wanted` says that nobody waits any more.
    ///
    /// # Errors
    /// [`SnapshotError::BaseGone`], [`SnapshotError::BaseNotOlder`], [`SnapshotError::OtherVm`],
    /// [`SnapshotError::Changed`] where either is not what was sealed, [`SnapshotError::Refused`]
    /// where nobody waits, the file system's.
    pub fn compare(
        &self,
        snapshot: Snapshot,
        base: &str,
        refine: Refine,
        wanted: impl Fn() -> bool,
    ) -> Result<Comparison, SnapshotError> {
        let snapshot = snapshot.ready()?;
        let base = self.base_of(&snapshot, base)?;
        let disks = snapshot
            .manifest
            .disks
            .iter()
            .map(|disk| {
                let walk = match base.manifest.disk_of(&disk.parent_path) {
                    Some(older) => {
                        let before = base.open(older).map_err(base_gone)?;
                        Walk::since(&snapshot, disk, base.id(), before, refine, 0)?
                    }
                    None => Walk::whole(&snapshot, disk, 0, None)?,
                };
                let (walk, ranges) = self.all_of(walk, &wanted)?;
                outcome(&snapshot, disk, &walk, ranges)
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

impl Snapshots {
    /// A walk over one disk of a snapshot: over what changed since a base, or over all of it.
    ///
    /// # Errors
    /// As [`Snapshots::compare`], of which [`Question::on_base_lost`] may make a walk over all;
    /// [`SnapshotError::UnknownDisk`]; [`SnapshotError::Refused`] to begin or end past the disk's
    /// end.
    pub fn walk(
        &self,
        snapshot: Snapshot,
        disk: &str,
        question: &Question,
    ) -> Result<Walk, SnapshotError> {
        let snapshot = snapshot.ready()?;
        let disk = snapshot.disk(disk)?;
        let from = question.from;
        if from > disk.size {
            return Err(SnapshotError::Refused(format!(
                "the disk {} has {} bytes; from={from} lies behind its end",
                disk.name, disk.size
            )));
        }
        let to = question.to.unwrap_or(disk.size);
        if to < from || to > disk.size {
            return Err(SnapshotError::Refused(format!(
                "the disk {} has {} bytes; to={to} does not lie between from={from} and its end",
                disk.name, disk.size
            )));
        }
        let walk = self.walk_from(&snapshot, disk, question)?;
        Ok(self.equipped(walk.ending_at(to)))
    }

    fn walk_from(
        &self,
        snapshot: &Snapshot,
        disk: &Disk,
        question: &Question,
    ) -> Result<Walk, SnapshotError> {
        let from = question.from;
        let Some(base) = &question.base else {
            return Walk::whole(snapshot, disk, from, None);
        };
        let opened = self.base_of(snapshot, base).and_then(|base| {
            let Some(older) = base.manifest.disk_of(&disk.parent_path) else {
                return Ok((base, None));
            };
            let file = base.open(older).map_err(base_gone)?;
            Ok((base, Some(file)))
        });
        match opened {
            Ok((base, Some(before))) => {
                Walk::since(snapshot, disk, base.id(), before, question.refine, from)
            }
            Ok((base, None)) => {
                let reason = format!(
                    "the base snapshot {} has no disk that was cloned from {}",
                    base.id(),
                    disk.parent_path.display()
                );
                Walk::whole(snapshot, disk, from, Some(reason))
            }
            Err(error @ (SnapshotError::BaseGone { .. } | SnapshotError::Changed { .. }))
                if question.on_base_lost == OnBaseLost::Full =>
            {
                Walk::whole(snapshot, disk, from, Some(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// With what all walks of this node share.
    fn equipped(&self, walk: Walk) -> Walk {
        walk.in_turn(&self.map_turns).in_memory_of(&self.buffers)
    }

    /// Walks to the end of a disk.
    fn all_of(
        &self,
        walk: Walk,
        wanted: &impl Fn() -> bool,
    ) -> Result<(Walk, Vec<Range>), SnapshotError> {
        let (mut walk, mut ranges) = (self.equipped(walk), Vec::new());
        while let Some(stretch) = walk.step()? {
            ranges.extend(stretch.ranges);
            if !wanted() {
                return Err(nobody_waits());
            }
        }
        Ok((walk, ranges))
    }

    /// The snapshot that another one is compared to.
    fn base_of(&self, snapshot: &Snapshot, base: &str) -> Result<Snapshot, SnapshotError> {
        let base = self
            .find(&snapshot.manifest.vm_id, base)
            .map_err(base_gone)?;
        let age = |snapshot: &Snapshot| (snapshot.manifest.created_at, snapshot.id());
        if base.id() == snapshot.id() || age(&base) > age(snapshot) {
            return Err(SnapshotError::BaseNotOlder {
                id: snapshot.id(),
                base: base.id(),
            });
        }
        base.ready().map_err(base_gone)
    }
}

/// Why work was left: nobody reads this.
pub(super) fn nobody_waits() -> SnapshotError {
    SnapshotError::Refused("the client has gone".to_owned())
}

fn base_gone(error: SnapshotError) -> SnapshotError {
    match error {
        SnapshotError::Unknown { id, .. } => SnapshotError::BaseGone { id },
        // A part of it is as good as none.
        SnapshotError::Broken { id, .. } => SnapshotError::BaseGone { id: id.to_string() },
        other => other,
    }
}

/// A snapshot without a base, with those ranges of each disk that `look` finds on a walk over it.
fn by_itself(
    snapshot: Snapshot,
    look: impl Fn(Walk) -> Result<(Walk, Vec<Range>), SnapshotError>,
) -> Result<Comparison, SnapshotError> {
    let snapshot = snapshot.ready()?;
    let disks = snapshot
        .manifest
        .disks
        .iter()
        .map(|disk| {
            let (walk, ranges) = look(Walk::whole(&snapshot, disk, 0, None)?)?;
            outcome(&snapshot, disk, &walk, ranges)
        })
        .collect::<Result<_, _>>()?;
    Ok(Comparison {
        base: None,
        disks,
        snapshot,
    })
}

fn outcome(
    snapshot: &Snapshot,
    disk: &Disk,
    walk: &Walk,
    ranges: Vec<Range>,
) -> Result<DiskComparison, SnapshotError> {
    Ok(DiskComparison {
        base: walk.base(),
        method: walk.method(),
        reason: walk.reason().map(str::to_owned),
        ranges,
        ..unread(snapshot, disk)?
    })
}

/// A disk of which nothing is known but what the manifest says.
fn unread(snapshot: &Snapshot, disk: &Disk) -> Result<DiskComparison, SnapshotError> {
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
        base: None,
        method: Method::Extents,
        reason: None,
        ranges: Vec::new(),
    })
}
