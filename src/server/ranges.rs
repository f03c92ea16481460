//! `GET …/disks/{disk}/ranges`: what a replica must write, page by page.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::query::DiskQuery;
use super::state::{Shared, Waiting, in_turn};
use crate::extents::{Range, RangeKind};
use crate::protocol::{ChangeKind, ChangedRange, RangePage};
use crate::snapshots::{SnapshotError, Walk};

/// A page ends here even if it is not full: comparing bytes may take hours, and nobody can tell a
/// client that waits from one that hangs.
const PAGE_TIME: Duration = Duration::from_secs(20);

pub(super) async fn list(
    State(app): State<Shared>,
    Ids((vm, snapshot, disk)): Ids<(String, String, String)>,
    Parameters(query): Parameters<DiskQuery>,
) -> Result<Json<RangePage>, ApiError> {
    let question = query.question()?;
    let limit = query.limit()?;
    let (_waiting, wanted) = Waiting::begin();
    in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&vm, |vm_id| app.snapshots.find(vm_id, &snapshot))?;
        turn.take()?;
        let walk = app.snapshots.walk(snapshot, &disk, &question)?;
        page(walk, limit, wanted).map(Json)
    })
    .await
}

/// A page of at most `limit` ranges.
fn page(
    mut walk: Walk,
    limit: usize,
    wanted: impl Fn() -> bool,
) -> Result<RangePage, SnapshotError> {
    let begun = Instant::now();
    let mut ranges: Vec<ChangedRange> = Vec::new();
    let mut next = None;
    while next.is_none() {
        let Some(stretch) = walk.step()? else {
            break;
        };
        let out = add(&mut ranges, &stretch.ranges, limit);
        let full = ranges.len() >= limit || begun.elapsed() >= PAGE_TIME || !wanted();
        next = out.or((full && stretch.reached < walk.end()).then_some(stretch.reached));
    }
    Ok(RangePage {
        size: walk.disk().size,
        base: walk.base(),
        method: walk.method().as_str().to_owned(),
        reason: walk.reason().map(str::to_owned),
        ranges,
        next,
    })
}

/// Adds ranges, neighbours of one kind joined, as long as there is room: where the first one begins
/// that has none.
fn add(ranges: &mut Vec<ChangedRange>, more: &[Range], limit: usize) -> Option<u64> {
    for range in more {
        let kind = match range.kind {
            RangeKind::Data => ChangeKind::Data,
            RangeKind::Zero => ChangeKind::Zero,
        };
        let full = ranges.len() == limit;
        match ranges.last_mut() {
            Some(last) if last.start + last.length == range.start && last.kind == kind => {
                last.length += range.length;
            }
            _ if full => return Some(range.start),
            _ => ranges.push(ChangedRange {
                start: range.start,
                length: range.length,
                kind,
            }),
        }
    }
    None
}
