use reqwest::StatusCode;

use crate::protocol::ErrorBody;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon answered that it will not or cannot.
    #[error("{status}: {}", body.details)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        body: ErrorBody,
    },
    /// No answer, or one that cannot be read.
    #[error("{}", causes(.0))]
    Transport(#[from] reqwest::Error),
    /// The answer is not the range that was asked for.
    #[error("{disk}: the answer is not the {length} bytes at {offset} that were asked for")]
    Short {
        /// The disk.
        disk: String,
        /// Asked for.
        offset: u64,
        /// Asked for.
        length: u64,
    },
    /// A file of the caller's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// An error with all its causes: the outermost alone says little.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
