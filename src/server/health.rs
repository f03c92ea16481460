//! `/health/live`, `/health/ready`: for whoever watches over the daemon. They say yes or no, to
//! everybody, and nothing else.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::state::Shared;
use crate::protocol::{Health, HealthStatus};

/// The process answers.
pub(super) async fn live() -> Json<Health> {
    Json(Health {
        status: HealthStatus::Ok,
    })
}

/// It is worth asking: the daemon serves, and does not stop.
pub(super) async fn ready(State(app): State<Shared>) -> Response {
    if app.lifecycle.is_ready() {
        return live().await.into_response();
    }
    let not_now = Health {
        status: HealthStatus::Unavailable,
    };
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(not_now)).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
