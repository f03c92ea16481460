//! `/api/v1/vms/{vm}/snapshots/{snapshot}/disks/{disk}`: the bytes of a disk.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::activity::Subject;
use super::activity::metered::Metered;
use super::byte_range::{self, Wanted};
use super::disk_body::{DiskBody, Piece};
use super::error::ApiError;
use super::extract::Ids;
use super::metrics::Sent;
use super::state::{Shared, in_turn};
use crate::protocol::OperationKind;
use crate::snapshots::manifest::Disk;
use crate::snapshots::{Share, SnapshotError};
use crate::sys::uncached::UncachedFile;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `GET` and `HEAD …/disks/{disk}`, with ranges.
pub(super) async fn read(
    State(app): State<Shared>,
    Ids((vm, snapshot, name)): Ids<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let finding = app.clone();
    let (file, tag, modified, subject) = in_turn(app.snapshots.turn(), move |_| {
        let snapshot = finding
            .for_vm(&vm, |vm_id| finding.snapshots.find(vm_id, &snapshot))?
            .ready()?;
        let disk = snapshot.disk(&name)?;
        let file = snapshot.open(disk)?;
        let tag = tag(snapshot.id(), disk);
        let subject = Subject {
            kind: OperationKind::Disk,
            vm_id: snapshot.manifest.vm_id.clone(),
            snapshot_id: Some(snapshot.id()),
            disk: Some(name),
            bytes_total: None,
        };
        Ok::<_, SnapshotError>((file, tag, snapshot.manifest.created_at, subject))
    })
    .await?;
    let headers = request.headers();
    let size = file.size();
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::try_from(&tag) {
        answer.insert(header::ETAG, tag);
    }
    if let Ok(date) = HeaderValue::try_from(http_date(modified)) {
        answer.insert(header::LAST_MODIFIED, date);
    }
    if has_tag(headers, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let (status, content_type, content_range, pieces, length) = match wanted(headers, &tag, size) {
        Wanted::Unsatisfiable => return Err(ApiError::RangeNotSatisfiable { size }),
        Wanted::Whole => (
            StatusCode::OK,
            CONTENT_TYPE,
            None,
            vec![Piece::Disk(0, size)],
            size,
        ),
        Wanted::Parts(parts) => match parts.as_slice() {
            &[(start, length)] => (
                StatusCode::PARTIAL_CONTENT,
                CONTENT_TYPE,
                Some(content_range(start, length, size)),
                vec![Piece::Disk(start, length)],
                length,
            ),
            _ => {
                let boundary = Uuid::new_v4().simple().to_string();
                let (pieces, length) = multipart(&parts, &boundary, size);
                let kind = format!("multipart/byteranges; boundary={boundary}");
                let kind =
                    HeaderValue::try_from(kind).map_err(|e| ApiError::Internal(e.to_string()))?;
                (StatusCode::PARTIAL_CONTENT, kind, None, pieces, length)
            }
        },
    };
    *response.status_mut() = status;
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, content_type);
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = content_range.and_then(|range| HeaderValue::try_from(range).ok()) {
        answer.insert(header::CONTENT_RANGE, range);
    }
    if request.method() != Method::HEAD {
        let subject = Subject {
            bytes_total: Some(length),
            ..subject
        };
        let body = body(file, app.snapshots.buffers().join(), pieces);
        let sent = app.metrics.sent(Sent::disk);
        *response.body_mut() =
            Body::from_stream(Metered::new(body, &app.activities, subject, sent));
    }
    Ok(response)
}

fn body(file: UncachedFile, share: Share, pieces: Vec<Piece>) -> DiskBody {
    let pieces = pieces
        .into_iter()
        .filter(|piece| !matches!(piece, Piece::Disk(_, 0)));
    DiskBody::new(file, share, pieces)
}

/// A strong tag: the bytes of a sealed file never change, and its identity names the file.
fn tag(snapshot: Uuid, disk: &Disk) -> String {
    let identity = serde_json::to_vec(&(&disk.name, &disk.identity)).unwrap_or_default();
    let digest = Sha256::digest(identity);
    let short: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{snapshot}-{short}\"")
}

/// `If-None-Match`.
fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| {
            candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
        })
}

/// The ranges, unless `If-Range` names anything but this very content.
fn wanted(headers: &HeaderMap, tag: &str, size: u64) -> Wanted {
    let same = headers
        .get(header::IF_RANGE)
        .is_none_or(|value| value.as_bytes() == tag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| same);
    byte_range::parse(range.map(HeaderValue::as_bytes), size)
}

fn content_range(start: u64, length: u64, size: u64) -> String {
    format!("bytes {start}-{}/{size}", start + length - 1)
}

/// The pieces of a `multipart/byteranges` body (RFC 9110, section 14.6), and their length.
fn multipart(parts: &[(u64, u64)], boundary: &str, size: u64) -> (Vec<Piece>, u64) {
    let mut pieces = Vec::new();
    let mut total = 0;
    for (at, &(start, length)) in parts.iter().enumerate() {
        let break_before = if at == 0 { "" } else { "\r\n" };
        let head = format!(
            "{break_before}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            content_range(start, length, size)
        );
        total += head.len() as u64 + length;
        pieces.push(Piece::Text(Bytes::from(head)));
        pieces.push(Piece::Disk(start, length));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    pieces.push(Piece::Text(Bytes::from(end)));
    (pieces, total)
}

/// RFC 9110, section 5.6.7.
fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
