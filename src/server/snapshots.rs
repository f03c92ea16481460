//! `/api/v1/vms/{vm}/snapshots`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use uuid::Uuid;

use super::activity::Subject;
use super::body_limit::read_json_body_if_any;
use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::query::SnapshotQuery;
use super::snapshot_list::SnapshotList;
use super::state::{Shared, Waiting, in_turn};
use super::{present, vms};
use crate::ovm::inventory::Vm;
use crate::ovm::repository::Repository;
use crate::protocol::{self, OperationKind};
use crate::snapshots::{Change, Comparison, Snapshot, SnapshotError, Standing, Turn, Wish};

/// `GET …/snapshots`: those that can be used now, oldest first.
pub(super) async fn list(
    State(app): State<Shared>,
    Ids(name): Ids<String>,
    Parameters(query): Parameters<SnapshotQuery>,
) -> Result<Response, ApiError> {
    let chunks = query.chunks()?;
    let (app, mut snapshots) = in_turn(app.snapshots.turn(), move |_| {
        let (_, snapshots) = snapshots_of(&app, &name)?;
        Ok::<_, ApiError>((app, snapshots))
    })
    .await?;
    let waiting = snapshots
        .iter()
        .find(|snapshot| matches!(snapshot.standing, Standing::Waiting(_)))
        .cloned();
    snapshots.retain(|snapshot| snapshot.standing == Standing::Ready);
    // An empty list would say that there is none, and the client would copy everything again.
    if let (true, Some(waiting)) = (snapshots.is_empty(), waiting) {
        waiting.ready()?;
    }
    Ok(SnapshotList::new(app, snapshots, chunks).into_response())
}

/// `POST …/snapshots`.
pub(super) async fn create(
    State(app): State<Shared>,
    Ids(name): Ids<String>,
    Parameters(query): Parameters<SnapshotQuery>,
    request: Request,
) -> Result<Json<protocol::Snapshot>, ApiError> {
    let chunks = query.chunks()?;
    let request: protocol::SnapshotRequest = read_json_body_if_any(request, &app.body).await?;
    let wish = Wish::of(request)?;
    let turn = Arc::new(app.snapshots.turn());
    in_turn(turn.clone(), move |own| {
        let (repositories, _) = app.files.look_at_repositories();
        let inventory = app.files.inventory(&repositories);
        let vm = inventory.find(&name).ok_or_else(|| vms::unknown(&name))?;
        let subject = subject(OperationKind::Snapshot, &vm.id, None);
        let running = app.activities.begin(subject, Some(turn));
        let snapshot = running.with(take(&app, vm, &repositories, &wish, own))?;
        let found = contents(&app, snapshot, chunks)?;
        Ok::<_, ApiError>(Json(present::snapshot(found, true)))
    })
    .await
}

/// Takes a snapshot, unless the same request has. Blocks.
fn take(
    app: &Shared,
    vm: &Vm,
    repositories: &[Repository],
    wish: &Wish,
    turn: &Turn,
) -> Result<Snapshot, ApiError> {
    // What is answered again is not judged again.
    let snapshot = match app.snapshots.made_before(&vm.id, wish)? {
        Some(same) => same,
        None => {
            let subject = app
                .snapshots
                .subject(vm, repositories, wish.disks.as_deref())?;
            app.snapshots.create(&subject, wish, turn)?
        }
    };
    turn.take()?;
    Ok(snapshot)
}

fn subject(kind: OperationKind, vm_id: &str, snapshot_id: Option<Uuid>) -> Subject {
    Subject {
        kind,
        vm_id: vm_id.to_owned(),
        snapshot_id,
        disk: None,
        bytes_total: None,
    }
}

/// `GET …/snapshots/{snapshot}`.
pub(super) async fn show(
    State(app): State<Shared>,
    Ids((name, id)): Ids<(String, String)>,
    Parameters(query): Parameters<SnapshotQuery>,
) -> Result<Json<protocol::Snapshot>, ApiError> {
    let join = query.squash()?;
    let refine = query.refine()?;
    let chunks = query.chunks()?;
    let (_waiting, wanted) = Waiting::begin();
    in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&name, |vm_id| app.snapshots.find(vm_id, &id))?;
        // Comparing bytes may take its time.
        turn.take()?;
        let compared = match query.base()? {
            None => contents(&app, snapshot, chunks)?,
            Some(base) => app.snapshots.compare(snapshot, base, refine, wanted)?,
        };
        Ok::<_, ApiError>(Json(present::snapshot(compared, join)))
    })
    .await
}

/// A snapshot's disks, with what is allocated in them if that is wanted.
pub(super) fn contents(
    app: &Shared,
    snapshot: Snapshot,
    chunks: bool,
) -> Result<Comparison, SnapshotError> {
    if chunks {
        app.snapshots.allocated(snapshot)
    } else {
        app.snapshots.described(snapshot)
    }
}

/// `PATCH …/snapshots/{snapshot}`: its label, and when it goes. What is wrong with a disk is an error
/// before anything is changed; with `chunks=false` no disk is looked at.
pub(super) async fn change(
    State(app): State<Shared>,
    Ids((name, id)): Ids<(String, String)>,
    Parameters(query): Parameters<SnapshotQuery>,
    request: Request,
) -> Result<Json<protocol::Snapshot>, ApiError> {
    let chunks = query.chunks()?;
    // Without a body nothing is changed, which is refused as such.
    let change: protocol::SnapshotChange = read_json_body_if_any(request, &app.body).await?;
    let change = Change::of(change, Timestamp::now())?;
    in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&name, |vm_id| app.snapshots.find(vm_id, &id))?;
        let vm_id = &snapshot.manifest.vm_id;
        let changed = app.snapshots.change(vm_id, &id, &change, chunks, turn)?;
        Ok::<_, ApiError>(Json(present::snapshot(changed, true)))
    })
    .await
}

/// `DELETE …/snapshots/{snapshot}`: also when it is gone already.
pub(super) async fn delete(
    State(app): State<Shared>,
    Ids((name, id)): Ids<(String, String)>,
) -> Result<StatusCode, ApiError> {
    in_turn(app.snapshots.turn(), move |turn| {
        let found = app.for_vm(&name, |vm_id| app.snapshots.find(vm_id, &id));
        match found {
            Err(SnapshotError::Unknown { .. }) => {
                app.snapshots.see_that_it_is_gone(&id)?;
                Ok(StatusCode::OK)
            }
            Err(error) => Err(error),
            Ok(snapshot) => {
                let vm_id = &snapshot.manifest.vm_id;
                let subject = subject(OperationKind::Delete, vm_id, Some(snapshot.id()));
                let running = app.activities.begin(subject, None);
                running.with(app.snapshots.delete(vm_id, &id, turn))?;
                Ok(StatusCode::OK)
            }
        }
    })
    .await
}

/// `DELETE …/snapshots`: all of that machine. It is an error that one cannot be read.
pub(super) async fn delete_all(
    State(app): State<Shared>,
    Ids(name): Ids<String>,
) -> Result<StatusCode, ApiError> {
    in_turn(app.snapshots.turn(), move |turn| {
        let vm_id = match snapshots_of(&app, &name) {
            Ok((vm_id, _)) => vm_id,
            Err(unknown) => {
                // Nor is it known by what cannot be read.
                app.snapshots.see_that_none_is_left(&name)?;
                return Err(unknown);
            }
        };
        let subject = subject(OperationKind::Delete, &vm_id, None);
        let running = app.activities.begin(subject, None);
        running.with(app.snapshots.delete_all(&vm_id, turn))?;
        app.snapshots.see_that_none_is_left(&vm_id)?;
        tracing::info!(vm = vm_id, "all snapshots deleted");
        Ok::<_, ApiError>(StatusCode::OK)
    })
    .await
}

/// The id of the machine that a request names, and its snapshots. A machine that is gone is known
/// by those that are left of it. Blocks.
pub(super) fn snapshots_of(app: &Shared, name: &str) -> Result<(String, Vec<Snapshot>), ApiError> {
    let (repositories, _) = app.files.look_at_repositories();
    let known = app
        .files
        .inventory(&repositories)
        .find(name)
        .map(|vm| vm.id.clone());
    let vm_id = known.clone().unwrap_or_else(|| name.to_owned());
    let snapshots = app.snapshots.all_in(&repositories, Some(&vm_id))?;
    if known.is_none() && snapshots.is_empty() {
        return Err(vms::unknown(name));
    }
    Ok((vm_id, snapshots))
}
