//! Counting of requests.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::server::state::Shared;

/// Where there is no route.
const NOWHERE: &str = "none";

/// Counts a request by its route, method and status.
pub(in crate::server) async fn observe(
    State(app): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let method = name(request.method());
    let begun = Instant::now();
    let response = next.run(request).await;
    let route = path
        .as_ref()
        .map_or(NOWHERE, |path| path.as_str().trim_end_matches('/'));
    let seconds = begun.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    app.metrics.answered(route, method, status, seconds);
    response
}

/// A client may make up as many methods as it likes: all those count as one.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
