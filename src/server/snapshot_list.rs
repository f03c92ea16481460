//! A list of snapshots, written as it is read: the maps of one snapshot are in memory at a time,
//! however many there are and however slowly the client takes them.

use std::convert::Infallible;
use std::vec::IntoIter;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::error::ApiError;
use super::present;
use super::snapshots::contents;
use super::state::{Shared, blocking};
use crate::snapshots::Snapshot;

/// The JSON list of these snapshots.
pub(super) struct SnapshotList {
    app: Shared,
    left: IntoIter<Snapshot>,
    /// With what is allocated in each.
    chunks: bool,
    opened: bool,
    closed: bool,
}

impl SnapshotList {
    pub(super) fn new(app: Shared, snapshots: Vec<Snapshot>, chunks: bool) -> SnapshotList {
        SnapshotList {
            app,
            left: snapshots.into_iter(),
            chunks,
            opened: false,
            closed: false,
        }
    }

    /// The next piece of the list's text.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        if self.closed {
            return None;
        }
        let mut text = if self.opened {
            Vec::new()
        } else {
            b"[".to_vec()
        };
        let separator: &[u8] = if self.opened { b"," } else { b"" };
        self.opened = true;
        for snapshot in self.left.by_ref() {
            let (app, chunks) = (self.app.clone(), self.chunks);
            let json = blocking(move || {
                let found = contents(&app, snapshot, chunks)?;
                serde_json::to_vec(&present::snapshot(found, true))
                    .map_err(|error| ApiError::Internal(error.to_string()))
            })
            .await;
            match json {
                Ok(json) => {
                    text.extend_from_slice(separator);
                    text.extend_from_slice(&json);
                    return Some(text);
                }
                // One snapshot that cannot be read must not hide the others.
                Err(error) => tracing::warn!("left out of the list: {error}"),
            }
        }
        self.closed = true;
        text.push(b']');
        Some(text)
    }
}

impl IntoResponse for SnapshotList {
    fn into_response(self) -> Response {
        let pieces = stream::unfold(self, |mut list| async move {
            let piece = list.piece().await?;
            Some((Ok::<_, Infallible>(Bytes::from(piece)), list))
        });
        let mut response = Response::new(Body::from_stream(pieces));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}
