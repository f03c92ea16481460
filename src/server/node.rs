//! `/api/v1/node`.

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::present;
use super::state::{Shared, in_turn};
use crate::protocol;
use crate::snapshots::Standing;

/// `GET /api/v1/node`: this node, its repositories, and what is wrong.
pub(super) async fn show(State(app): State<Shared>) -> Result<Json<protocol::Node>, ApiError> {
    let domains = app.toolstack.domains().await;
    in_turn(app.snapshots.turn(), move |_| {
        let (repositories, mut warnings) = app.files.look_at_repositories();
        warnings.extend(app.files.inventory(&repositories).warnings);
        warnings.extend(domains.doubt().map(str::to_owned));
        warnings.extend(app.snapshots.pause_trouble());
        warnings.extend(app.snapshots.refresh(&repositories)?);
        for snapshot in app.snapshots.indexed(&repositories, None)? {
            match &snapshot.standing {
                Standing::Waiting(reason) => {
                    warnings.push(format!("snapshot {} waits: {reason}", snapshot.id()));
                }
                Standing::Broken(reason) => {
                    warnings.push(format!(
                        "snapshot {} can only be deleted: {reason}",
                        snapshot.id()
                    ));
                }
                Standing::Ready | Standing::Creating | Standing::Deleting => {}
            }
        }
        Ok::<_, ApiError>(Json(protocol::Node {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: app.node_name.clone(),
            repositories: repositories
                .iter()
                .map(|repository| {
                    present::repository(repository, &app.snapshots.ability(repository))
                })
                .collect(),
            warnings,
            unmatched: app
                .snapshots
                .unmatched()
                .into_iter()
                .map(|folder| protocol::UnmatchedFolder {
                    path: folder.path,
                    reason: folder.reason,
                    bytes: folder.bytes,
                })
                .collect(),
        }))
    })
    .await
}
