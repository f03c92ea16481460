use serde::{Deserialize, Serialize};

/// Every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The class of error, such as `Conflict`. The same text for the same status.
    pub error: String,
    /// A sentence: what failed, on what, why, what to do.
    pub details: String,
    /// To be found in the daemon's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
