use serde::{Deserialize, Serialize};

/// What `/health/live` and `/health/ready` answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Health {
    /// Yes or no.
    pub status: HealthStatus,
}

/// Whether the daemon can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It can.
    Ok,
    /// Not now: it starts, or stops.
    Unavailable,
}
