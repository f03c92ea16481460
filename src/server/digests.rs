//! `GET …/disks/{disk}/digests`: what a replica's bytes should digest to.

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::query::DiskQuery;
use super::state::{Shared, Waiting, in_turn};
use crate::protocol::DiskDigests;
use crate::protocol::digest::MAX_DIGESTS;
use crate::snapshots::{Question, SnapshotError, digests};

pub(super) async fn show(
    State(app): State<Shared>,
    Ids((vm, snapshot, disk)): Ids<(String, String, String)>,
    Parameters(query): Parameters<DiskQuery>,
) -> Result<Json<DiskDigests>, ApiError> {
    let question = Question {
        from: 0,
        to: None,
        ..query.question()?
    };
    let algorithm = query.algorithm()?;
    let block = query.block()?;
    let buffers = app.snapshots.buffers().clone();
    let (_waiting, wanted) = Waiting::begin();
    in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&vm, |vm_id| app.snapshots.find(vm_id, &snapshot))?;
        // The base means nothing to a digest; that it is there is seen to all the same.
        if question.base.is_some() {
            app.snapshots.walk(snapshot.clone(), &disk, &question)?;
        }
        let walk = app.snapshots.walk(snapshot, &disk, &Question::default())?;
        let size = walk.disk().size;
        if let Some(block) = block
            && size.div_ceil(block) > MAX_DIGESTS
        {
            return Err(ApiError::BadRequest(format!(
                "block={block} makes more than {MAX_DIGESTS} digests of a disk of {size} bytes; use a larger one"
            )));
        }
        turn.take()?;
        let found = digests(walk, algorithm, block, buffers.join(), wanted)?.ok_or_else(|| {
            // Nobody reads this.
            SnapshotError::Refused("the client has gone".to_owned())
        })?;
        Ok(Json(DiskDigests {
            algorithm: algorithm.as_str().to_owned(),
            size,
            block,
            digests: found.blocks,
            whole: found.whole,
        }))
    })
    .await
}
