//! What handlers take from a request's path and query. What cannot be read there is answered like
//! every other error; axum's own answers are plain text, which no client of ours reads.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The ids in a path.
#[derive(Debug)]
pub(super) struct Ids<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // All ids are text: only one that is not UTF-8 fails, and nothing of ours has such a name.
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(ids)| Ids(ids))
            .map_err(|_| ApiError::nothing_at(&parts.uri))
    }
}

/// The parameters behind the question mark.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let rejected = match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => return Ok(Parameters(parameters)),
            Err(rejection) => rejection.body_text(),
        };
        // All parameters are text that may be absent: only two of one name cannot be read.
        let given = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let names: Vec<String> = given.map_or_else(
            |_| Vec::new(),
            |Query(pairs)| pairs.into_iter().map(|(name, _)| name).collect(),
        );
        let twice = names.iter().enumerate().find(|(at, name)| {
            // One that nobody knows may be there as often as it likes.
            names[..*at].contains(name) && rejected.contains(&format!("`{name}`"))
        });
        Err(ApiError::BadRequest(match twice {
            Some((_, name)) => format!("the parameter {name} is there twice; give it once"),
            None => "the parameters behind the question mark cannot be read".to_owned(),
        }))
    }
}
