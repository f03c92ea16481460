//! From an error to an answer: one exhaustive match.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::body_limit::BodyError;
use super::request_id::shortened;
use crate::protocol::ErrorBody;
use crate::snapshots::SnapshotError;

/// Why a request gets no success.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no token, or not a good one.
    #[error("Invalid authentication token")]
    NoToken,
    /// 401: the manager does not know these credentials.
    #[error("the manager does not accept this user name and password")]
    BadCredentials,
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("this path does not take this method; the Allow header names those that it takes")]
    MethodNotAllowed,
    /// 416.
    #[error("no range of the request lies inside the disk's {size} bytes")]
    RangeNotSatisfiable {
        /// The disk's size, bytes.
        size: u64,
    },
    /// 429.
    #[error("too many failed logins from this address; wait {seconds} s")]
    TooManyLogins {
        /// Until the next attempt.
        seconds: u64,
    },
    /// 503.
    #[error("too many watch already; try again later, or use follow=false")]
    TooManyWatchers,
    /// 502.
    #[error("{0}")]
    Manager(String),
    /// The request's body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A snapshot operation.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// 500.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// For a path that is none of ours.
    pub(super) fn nothing_at(uri: &Uri) -> ApiError {
        ApiError::NotFound(format!("there is nothing at {}", shortened(uri.path())))
    }

    fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::NoToken | ApiError::BadCredentials => StatusCode::UNAUTHORIZED,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::TooManyLogins { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::TooManyWatchers => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Manager(_) => StatusCode::BAD_GATEWAY,
            ApiError::Body(error) => error.status(),
            ApiError::Snapshot(error) => snapshot_status(error),
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What is said of it.
    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.class(self.status()).to_owned(),
            details: self.to_string(),
            request_id: None,
        }
    }

    /// The class that clients of the first generation know.
    fn class(&self, status: StatusCode) -> &'static str {
        match self {
            ApiError::NoToken => "Authentication failed",
            ApiError::BadCredentials => "Not Authorized",
            _ => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

fn snapshot_status(error: &SnapshotError) -> StatusCode {
    match error {
        SnapshotError::Unknown { .. }
        | SnapshotError::BaseGone { .. }
        | SnapshotError::UnknownDisk { .. } => StatusCode::NOT_FOUND,
        SnapshotError::BaseNotOlder { .. }
        | SnapshotError::Incompatible { .. }
        | SnapshotError::Refused(_) => StatusCode::BAD_REQUEST,
        SnapshotError::OtherVm { .. }
        | SnapshotError::KeyUsed { .. }
        | SnapshotError::TooMany { .. }
        | SnapshotError::TooLong { .. }
        | SnapshotError::Changed { .. }
        | SnapshotError::Broken { .. }
        | SnapshotError::Unreadable { .. }
        | SnapshotError::Left { .. }
        | SnapshotError::Adopted { .. }
        | SnapshotError::Unremovable { .. } => StatusCode::CONFLICT,
        SnapshotError::Unavailable { .. }
        | SnapshotError::NotNow { .. }
        | SnapshotError::NotOneMoment { .. }
        | SnapshotError::Busy { .. }
        | SnapshotError::GivenUp { .. }
        | SnapshotError::Stalled { .. }
        | SnapshotError::NotRead { .. }
        | SnapshotError::Unanswered { .. } => StatusCode::SERVICE_UNAVAILABLE,
        SnapshotError::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
        SnapshotError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        SnapshotError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem =>
        {
            StatusCode::SERVICE_UNAVAILABLE
        }
        SnapshotError::Io { .. }
        | SnapshotError::Catalog { .. }
        | SnapshotError::CatalogForeign { .. }
        | SnapshotError::CatalogShared { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(%status, "{self}");
        } else {
            tracing::info!(%status, "{self}");
        }
        let body = self.body();
        let mut response = (status, Json(&body)).into_response();
        // `request_id::assign` puts the id into it; it is not known here.
        response.extensions_mut().insert(body);
        let headers = response.headers_mut();
        match &self {
            ApiError::RangeNotSatisfiable { size } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            ApiError::TooManyLogins { seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            ApiError::NoToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
