use super::ReplicateError;

/// Why a disk was not copied, or looked at, to its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The base cannot be used, or the target does not hold it, as this says; the snapshot can.
    BaseLost(String),
    Error(ReplicateError),
}

impl From<ReplicateError> for Halt {
    fn from(error: ReplicateError) -> Halt {
        Halt::Error(error)
    }
}
