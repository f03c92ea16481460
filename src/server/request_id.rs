//! An id for each request, in the answer and in every line of the log that it causes; and who asks.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::connection::ConnectionHandle;
use crate::protocol::ErrorBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a client.
const MAX_LENGTH: usize = 64;
/// Letters of a path; those of ours, with all their ids, are shorter.
const MAX_PATH: usize = 300;

/// The id, for handlers.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Gives each request the id that the client sent, if that is a plain word, or a new one.
pub(super) async fn assign(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|value| is_plain(value))
        .and_then(|value| value.to_str().ok())
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let peer = request
        .extensions()
        .get::<ConnectionHandle>()
        .map(|handle| handle.peer().to_string());
    // Of the highest level, so that it is there whatever is logged.
    let span = tracing::error_span!(
        "request",
        request_id = id,
        peer,
        method = %request.method(),
        path = shortened(request.uri().path()),
        user = tracing::field::Empty,
    );
    request.extensions_mut().insert(RequestId(id.clone()));
    let begun = std::time::Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        tracing::debug!(
            status = response.status().as_u16(),
            milliseconds = begun.elapsed().as_millis(),
            "answered"
        );
    });
    if let Some(error) = response.extensions_mut().remove::<ErrorBody>() {
        let named = ErrorBody {
            request_id: Some(id.clone()),
            ..error
        };
        *response.body_mut() = Json(named).into_response().into_body();
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.map(|body| match body.is_end_stream() {
        true => body,
        false => Body::new(Spanned { body, span }),
    })
}

/// Names in every line of this request, from now on, who asks. Both forms of the log quote and escape
/// text: a name cannot look like a line of its own.
pub(super) fn is_of(user: &str) {
    Span::current().record("user", shortened(user));
}

/// As much of a path or a name as stands in logs and errors: a stranger can send one of 32 KiB, and logs are
/// rotated by their size.
pub(super) fn shortened(path: &str) -> &str {
    match path.char_indices().nth(MAX_PATH) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

/// A client's id goes into the log: letters, digits and `-_.` only.
fn is_plain(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=MAX_LENGTH).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A body that is made when the request is answered already: what is logged then is of the same
/// request, and so is the work that it begins.
struct Spanned {
    body: Body,
    span: Span,
}

impl HttpBody for Spanned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_where_a_letter_ends() {
        assert_eq!(shortened("/api/v1/vms"), "/api/v1/vms");
        let long = "ä".repeat(32_000);
        assert_eq!(shortened(&long).chars().count(), MAX_PATH);
        assert_eq!(shortened(&long[..2 * MAX_PATH]).len(), 2 * MAX_PATH);
    }
}
