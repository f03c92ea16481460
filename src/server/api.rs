//! Every route.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};

use super::error::ApiError;
use super::login;
use super::state::{App, Shared};
use super::{
    all_snapshots, delta, digests, disks, node, ranges, report, request_id, snapshots, vms,
};

/// The whole interface: the first generation's routes, each with and without a trailing slash,
/// and ours.
pub fn router(app: Arc<App>) -> Router {
    let snapshot_list = get(snapshots::list)
        .post(snapshots::create)
        .delete(snapshots::delete_all);
    let snapshot = get(snapshots::show)
        .patch(snapshots::change)
        .delete(snapshots::delete);
    let disk = "/api/v1/vms/{vm}/snapshots/{snapshot}/disks/{disk}";
    let protected = Routes::new()
        .add("/api/v1/node", get(node::show))
        .add("/api/v1/snapshots", get(all_snapshots::list))
        .add("/api/v1/vms", get(vms::list))
        .add("/api/v1/vms/{vm}", get(vms::show))
        .add("/api/v1/vms/{vm}/report", get(report::show))
        .add("/api/v1/vms/{vm}/snapshots", snapshot_list)
        .add("/api/v1/vms/{vm}/snapshots/{snapshot}", snapshot)
        .add(disk, get(disks::read))
        .add(&format!("{disk}/ranges"), get(ranges::list))
        .add(&format!("{disk}/delta"), get(delta::stream))
        .add(&format!("{disk}/digests"), get(digests::show))
        .0
        .route_layer(from_fn_with_state(app.clone(), login::require_token));
    let open = Routes::new()
        .add("/api/v1/auth/login", post(login::login))
        .0;
    protected
        .merge(open)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(request_id::assign))
        .with_state(app)
}

/// Routes that end with or without a slash.
struct Routes(Router<Shared>);

impl Routes {
    fn new() -> Routes {
        Routes(Router::new())
    }

    fn add(self, path: &str, methods: MethodRouter<Shared>) -> Routes {
        let with_slash = format!("{path}/");
        Routes(
            self.0
                .route(path, methods.clone())
                .route(&with_slash, methods),
        )
    }
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::NotFound(format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method() -> ApiError {
    ApiError::MethodNotAllowed
}
