//! `GET …/disks/{disk}/delta`: every byte that a replica must write, in one answer.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::activity::Subject;
use super::activity::metered::Metered;
use super::delta_body::DeltaBody;
use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::metrics::Sent;
use super::query::DiskQuery;
use super::request_id::RequestId;
use super::state::{Shared, in_turn};
use crate::protocol::OperationKind;
use crate::protocol::delta::{CONTENT_TYPE, Compression};
use crate::snapshots::{Delta, Format};

pub(super) async fn stream(
    State(app): State<Shared>,
    Ids((vm, snapshot, disk)): Ids<(String, String, String)>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Parameters(query): Parameters<DiskQuery>,
) -> Result<Response, ApiError> {
    let question = query.question()?;
    let format = query.format()?;
    let buffers = app.snapshots.buffers().clone();
    let (app, delta, subject) = in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&vm, |vm_id| app.snapshots.find(vm_id, &snapshot))?;
        turn.take()?;
        let (vm_id, id) = (snapshot.manifest.vm_id.clone(), snapshot.id());
        let walk = app.snapshots.walk(snapshot, &disk, &question)?;
        let delta = Delta::new(walk, format, buffers.join())?;
        let subject = Subject {
            kind: OperationKind::Delta,
            vm_id,
            snapshot_id: Some(id),
            disk: Some(disk),
            bytes_total: None,
        };
        Ok::<_, ApiError>((app, delta, subject))
    })
    .await?;
    let body = match format {
        Format::Native(Compression::Auto) => DeltaBody::choosing(delta),
        _ => DeltaBody::new(delta),
    };
    let sent = app.metrics.sent(Sent::delta);
    let body = Metered::new(body.of_request(request_id), &app.activities, subject, sent);
    let mut response = Response::new(Body::from_stream(body));
    let kind = match format {
        Format::Native(_) => HeaderValue::from_static(CONTENT_TYPE),
        Format::Rbd => HeaderValue::from_static("application/octet-stream"),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
