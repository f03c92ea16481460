//! Query parameters, as old and new clients write them.

use serde::Deserialize;

use super::error::ApiError;
use crate::snapshots::Refine;

/// Parameters of `GET …/snapshots/{snapshot}`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotQuery {
    squash_chunks: Option<String>,
    compare_to: Option<String>,
    refine: Option<String>,
}

impl SnapshotQuery {
    /// Whether to join neighbouring chunks. True unless said otherwise, in any spelling.
    pub(super) fn squash(&self) -> Result<bool, ApiError> {
        boolean("squashChunks", self.squash_chunks.as_deref())
    }

    /// The base. An empty one is a slip (a variable that was not set), and must not be answered
    /// as if there were none.
    pub(super) fn base(&self) -> Result<Option<&str>, ApiError> {
        match self.compare_to.as_deref() {
            Some("") => Err(ApiError::BadRequest(
                "compareTo is empty; name a snapshot, or leave it out for the whole disk"
                    .to_owned(),
            )),
            base => Ok(base),
        }
    }

    /// Whether to look at bytes.
    pub(super) fn refine(&self) -> Result<Refine, ApiError> {
        match self.refine.as_deref() {
            None | Some("" | "auto") => Ok(Refine::Auto),
            Some("none") => Ok(Refine::None),
            Some("4096") => Ok(Refine::Blocks),
            Some(other) => Err(ApiError::BadRequest(format!(
                "refine={other:?} is not known; use none, auto or 4096"
            ))),
        }
    }
}

/// Parameters of `GET /snapshots`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SpaceQuery {
    space: Option<String>,
}

impl SpaceQuery {
    /// Whether to find out what each snapshot holds alone. True unless said otherwise.
    pub(super) fn space(&self) -> Result<bool, ApiError> {
        boolean("space", self.space.as_deref())
    }
}

/// True where it is absent or empty.
fn boolean(name: &str, text: Option<&str>) -> Result<bool, ApiError> {
    let text = text.unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" | "yes" | "y" | "on" => Ok(true),
        "0" | "f" | "false" | "no" | "n" | "off" => Ok(false),
        _ => Err(ApiError::BadRequest(format!(
            "{name}={text:?} is no boolean; use true or false"
        ))),
    }
}
