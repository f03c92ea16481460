use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::protocol::{Consistency, Lifetime, SnapshotRequest, duration};

/// Options of `snapshot create`.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// The machine.
    pub vm: String,
    /// Words for people.
    #[arg(long)]
    label: Option<String>,
    /// The daemon deletes it after that time, such as 36h.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<Lifetime>,
    /// A name for this request: when it is sent again, the same snapshot is answered.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Only this disk; may be repeated.
    #[arg(long = "disk", value_name = "NAME")]
    disks: Vec<String>,
    /// Whether all disks are to be of one moment.
    #[arg(long, value_enum)]
    consistency: Option<ConsistencyName>,
}

impl CreateOptions {
    /// What is asked of the daemon.
    pub fn request(&self) -> SnapshotRequest {
        SnapshotRequest {
            label: self.label.clone(),
            expires_in: self.expires_in,
            idempotency_key: self.idempotency_key.clone(),
            disks: Some(self.disks.clone()).filter(|disks| !disks.is_empty()),
            consistency: self.consistency.map(Consistency::from),
        }
    }
}

/// Ways to have all disks of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConsistencyName {
    /// Back to back, each disk crash-consistent by itself.
    None,
    /// The machine is paused while the disks are cloned.
    Pause,
    /// Commands of the daemon's configuration run before and after.
    Command,
}

impl From<ConsistencyName> for Consistency {
    fn from(name: ConsistencyName) -> Consistency {
        match name {
            ConsistencyName::None => Consistency::None,
            ConsistencyName::Pause => Consistency::Pause,
            ConsistencyName::Command => Consistency::Command,
        }
    }
}

/// Reads a term: `36h`, or a number of seconds.
pub fn lifetime(text: &str) -> Result<Lifetime, String> {
    let long = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => duration::parse(text).map_err(|error| error.to_string())?,
    };
    Ok(Lifetime(Duration::from_secs(long.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_seconds_or_text() {
        assert_eq!(lifetime("90").unwrap().0, Duration::from_secs(90));
        assert_eq!(lifetime("36h").unwrap().0, Duration::from_secs(36 * 3600));
        assert!(lifetime("3 days").is_err());
        assert!(lifetime("-5").is_err());
    }
}
