//! An id for each request, in the answer and in every line of the log that it causes.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use super::connection::ConnectionHandle;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a client.
const MAX_LENGTH: usize = 64;

/// Gives each request the id that the client sent, if that is a plain word, or a new one.
pub(super) async fn assign(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|value| is_plain(value))
        .cloned()
        .or_else(|| HeaderValue::try_from(Uuid::new_v4().to_string()).ok());
    let peer = request
        .extensions()
        .get::<ConnectionHandle>()
        .map(|handle| handle.peer().to_string());
    let span = tracing::info_span!(
        "request",
        id = id.as_ref().and_then(|id| id.to_str().ok()),
        peer,
        method = %request.method(),
        path = request.uri().path(),
    );
    let begun = std::time::Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        tracing::debug!(
            status = response.status().as_u16(),
            milliseconds = begun.elapsed().as_millis(),
            "answered"
        );
    });
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A client's id goes into the log: letters, digits and `-_.` only.
fn is_plain(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=MAX_LENGTH).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
