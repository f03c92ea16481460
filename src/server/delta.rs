//! `GET …/disks/{disk}/delta`: every byte that a replica must write, in one answer.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::delta_body::DeltaBody;
use super::error::ApiError;
use super::extract::{Ids, Parameters};
use super::query::DiskQuery;
use super::request_id::RequestId;
use super::state::{Shared, in_turn};
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
    let buffers = app.buffers.clone();
    let delta = in_turn(app.snapshots.turn(), move |turn| {
        let snapshot = app.for_vm(&vm, |vm_id| app.snapshots.find(vm_id, &snapshot))?;
        turn.take()?;
        let walk = app.snapshots.walk(snapshot, &disk, &question)?;
        Delta::new(walk, format, buffers.join())
    })
    .await?;
    let body = match format {
        Format::Native(Compression::Auto) => DeltaBody::choosing(delta),
        _ => DeltaBody::new(delta),
    };
    let mut response = Response::new(Body::from_stream(body.of_request(request_id)));
    let kind = match format {
        Format::Native(_) => HeaderValue::from_static(CONTENT_TYPE),
        Format::Rbd => HeaderValue::from_static("application/octet-stream"),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
