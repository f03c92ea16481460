//! The answer to whoever collects figures, and who gets it.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::gauges;
use crate::server::error::ApiError;
use crate::server::request_id;
use crate::server::state::{Shared, blocking};

/// Of OpenMetrics: what Prometheus asks for first.
pub(in crate::server) const CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// So long file systems are waited for. Prometheus waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /metrics`.
pub(in crate::server) async fn show(State(app): State<Shared>) -> Result<Response, ApiError> {
    let mut text = String::new();
    let mut add = |registry: &Registry| {
        text::encode_registry(&mut text, registry)
            .map_err(|error| ApiError::Internal(error.to_string()))
    };
    add(&app.metrics.registry)?;
    add(&gauges::of_memory(&app))?;
    if let Some(registry) = look(&app).await {
        add(&registry)?;
    }
    text::encode_eof(&mut text).map_err(|error| ApiError::Internal(error.to_string()))?;
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Where file systems hang these figures are missing, and no second thread is lost to them.
async fn look(app: &Shared) -> Option<Registry> {
    let place = app.look.clone().try_acquire_owned().ok()?;
    let looking = {
        let app = app.clone();
        blocking(move || {
            let _place = place;
            gauges::of_repositories(&app)
        })
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(Ok(registry)) => Some(registry),
        Ok(Err(error)) => {
            tracing::warn!("no figures of repositories: {error}");
            None
        }
        Err(_) => {
            tracing::warn!("no figures of repositories: a file system hangs");
            None
        }
    }
}

/// Lets a request pass that carries a token of the interface, or the one of `[metrics] token_file`.
pub(in crate::server) async fn require_token(
    State(app): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request.headers().get(header::AUTHORIZATION);
    match app.tokens.verify(given) {
        Ok(claims) => request_id::is_of(&claims.user),
        Err(_) => {
            let given = given.and_then(bearer).ok_or(ApiError::NoToken)?;
            let token = app.metrics_token.as_ref().ok_or(ApiError::NoToken)?;
            if !token.is(&given).await {
                return Err(ApiError::NoToken);
            }
        }
    }
    Ok(next.run(request).await)
}

fn bearer(value: &HeaderValue) -> Option<String> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then(|| token.to_owned())
}
