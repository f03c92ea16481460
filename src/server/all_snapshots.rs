//! `/api/v1/snapshots`: those of all machines, whatever their state.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;

use super::error::ApiError;
use super::extract::Parameters;
use super::present;
use super::query::SpaceQuery;
use super::state::{Shared, Waiting, in_turn};
use crate::protocol;

/// `GET /api/v1/snapshots`, oldest first, then those that cannot be read, and the folders
/// that belong to no machine.
pub(super) async fn list(
    State(app): State<Shared>,
    Parameters(query): Parameters<SpaceQuery>,
) -> Result<Json<Vec<protocol::SnapshotEntry>>, ApiError> {
    let with_space = query.space()?;
    let (_waiting, wanted) = Waiting::begin();
    in_turn(app.snapshots.turn(), move |turn| {
        let (repositories, _) = app.files.look_at_repositories();
        let snapshots = app.snapshots.all_in(&repositories, None)?;
        // Reading every map may take its time.
        turn.take()?;
        let now = Timestamp::now();
        let known = snapshots.iter().map(|snapshot| {
            // Where nobody reads the answer any more, comparisons need not wait for it.
            let exclusive = (with_space && wanted())
                .then(|| app.snapshots.exclusive_bytes(snapshot))
                .flatten();
            present::entry(snapshot, now, exclusive)
        });
        let unreadable = app.snapshots.unreadable(&repositories)?;
        let unmatched = app.snapshots.unmatched();
        let entries = known
            .chain(unreadable.iter().map(present::unreadable_entry))
            .chain(unmatched.iter().map(present::unmatched_entry));
        Ok::<_, ApiError>(Json(entries.collect()))
    })
    .await
}
