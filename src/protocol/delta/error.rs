use std::io;

use crate::protocol::ErrorBody;

/// Why a stream is not what it should be. None of these is a complete delta.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// It ends before its end frame.
    #[error("the delta stream was cut off; ask again from where it had come")]
    CutOff,
    /// The daemon could not go on, and says why.
    #[error("the daemon gave up the delta stream: {}: {}", .0.error, .0.details)]
    GivenUp(ErrorBody),
    /// Bytes were damaged on the way, frames are missing, or something else sent this.
    #[error("the delta stream is damaged: {0}")]
    Malformed(String),
    /// Of a version that is not known here.
    #[error(
        "the delta stream has version {found}, only {known} is known; use a newer client",
        known = super::VERSION
    )]
    Version {
        /// What it says.
        found: u16,
    },
    /// An earlier call has failed already.
    #[error("the delta stream has failed before")]
    Failed,
    /// Memory for a compressor, and the like.
    #[error("cannot set up compression: {0}")]
    Compressor(io::Error),
}

impl DeltaError {
    pub(super) fn compressor(error: io::Error) -> DeltaError {
        DeltaError::Compressor(error)
    }
}
