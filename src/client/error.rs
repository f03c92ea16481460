use std::time::Duration;

use reqwest::StatusCode;

use crate::causes;
use crate::protocol::ErrorBody;
use crate::protocol::delta::DeltaError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon answered that it will not or cannot.
    #[error("{status}: {}{}", body.details, request(*status, body))]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        body: ErrorBody,
    },
    /// No answer, or one that cannot be read.
    #[error("{}", causes::of(.0))]
    Transport(#[from] reqwest::Error),
    /// The connection ended before an answer began: whether the node has done what it was asked for
    /// is not known.
    #[error("the connection ended before the node has answered: {0}")]
    Unanswered(String),
    /// The answer stopped coming.
    #[error("nothing came for {} s; the node hangs, or the way to it is broken", .0.as_secs())]
    Silent(Duration),
    /// An answer is larger than any should be; the rest of it was not read.
    #[error(
        "the answer is larger than {largest} bytes, which none of its kind should be; ask for less, such \
         as ranges page by page, and see that it is the daemon that answers"
    )]
    TooLarge {
        /// Bytes that are read.
        largest: usize,
    },
    /// An answer cannot be understood.
    #[error("the answer is not what it should be: {0}")]
    Malformed(#[source] serde_json::Error),
    /// A delta is not what it should be.
    #[error("{}{}", .0, request_of(.0))]
    Delta(#[from] DeltaError),
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

impl ClientError {
    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            ClientError::Refused { status, .. } => Some(*status),
            ClientError::Transport(error) => error.status(),
            _ => None,
        }
    }

    /// Whether it is the node's certificate that is not believed.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = match self {
            ClientError::Transport(error) => Some(error),
            ClientError::Io(error) => Some(error),
            _ => None,
        };
        while let Some(error) = cause {
            if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
                return true;
            }
            // An error of input or output names its cause's cause alone.
            let inside = error.downcast_ref::<std::io::Error>();
            cause = match inside.and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        false
    }

    /// Whether the same call may work later: the connection broke, the node was busy, stopped or
    /// started. What the daemon refuses for good, and a stream that was tampered with, stays so.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Refused { status, .. } => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            // A body that breaks off is one that "cannot be decoded", like JSON that is none.
            ClientError::Transport(error) => {
                let source = std::error::Error::source(error);
                !error.is_builder() && !source.is_some_and(|cause| cause.is::<serde_json::Error>())
            }
            ClientError::Unanswered(_)
            | ClientError::Silent(_)
            | ClientError::Delta(DeltaError::CutOff) => true,
            ClientError::TooLarge { .. }
            | ClientError::Malformed(_)
            | ClientError::Short { .. }
            | ClientError::Delta(_)
            | ClientError::Io(_) => false,
        }
    }
}

/// How the daemon's log calls the request, where it has more than the answer says: faults of its own.
fn request(status: StatusCode, body: &ErrorBody) -> String {
    let id = body
        .request_id
        .as_ref()
        .filter(|_| status.is_server_error());
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

/// The same of a stream that the daemon could not end.
fn request_of(error: &DeltaError) -> String {
    match error {
        DeltaError::GivenUp(body) => request(StatusCode::INTERNAL_SERVER_ERROR, body),
        _ => String::new(),
    }
}
