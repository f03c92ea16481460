//! The router: every route, who may use it, and what is answered where there is none.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use super::error::ApiError;
use super::route::Access;
use super::state::App;
use super::{login, metrics, openapi, request_id, routes};

/// The whole interface.
pub fn router(app: Arc<App>) -> Router {
    let with = |access: Access| {
        let routes = routes::all().into_iter();
        routes
            .filter(|route| route.access == access)
            .fold(Router::new(), |router, route| route.add_to(router))
    };
    let protected =
        with(Access::Token).route_layer(from_fn_with_state(app.clone(), login::require_token));
    let figures =
        with(Access::Figures).route_layer(from_fn_with_state(app.clone(), metrics::require_token));
    protected
        .merge(figures)
        .merge(with(Access::Open))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), metrics::observe))
        .layer(from_fn(request_id::assign))
        .with_state(app)
}

/// Figures alone, for everybody: goes to an address of its own.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// The interface as an OpenAPI document, JSON with line breaks: what `docs/openapi.json` is.
#[must_use]
pub fn openapi_document() -> String {
    format!("{:#}\n", openapi::document(&routes::all()))
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::nothing_at(request.uri())
}

async fn wrong_method() -> ApiError {
    ApiError::MethodNotAllowed
}
