use std::time::Duration;

use super::super::Fingerprint;
use super::Packing;

/// What may be chosen for a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// The volume holds zeros only: it was just made. To be said for the very first run alone; one
    /// that broke off has written to it.
    pub declared_zeroed: bool,
    /// What messages call the volume, and by which the state of a replica knows it: for volumes whose
    /// worker is another one in each run. Worker and device unless named.
    pub name: Option<String>,
    /// Which volume it is, by an id that no other volume ever has, such as the destination's own for it.
    /// The state keeps it: with another one a run does not take up where the last one ended. Where the
    /// worker makes no checksums nothing else tells that.
    pub identity: Option<String>,
    /// Chunks, or messages, that may be under way at the same time: 1 to 64.
    pub in_flight: usize,
    /// Bytes that are sent at once, 64 KiB to 64 MiB. What follows upon each other is gathered up to
    /// that. A writer takes no more memory than two times this for each of `in_flight`.
    pub chunk: usize,
    /// Whether bytes are packed on their way.
    pub packing: Packing,
    /// How long a call is made again, without any of the same call succeeding, before the writer is
    /// given up.
    pub patience: Duration,
}

impl Default for WriterOptions {
    fn default() -> WriterOptions {
        WriterOptions {
            declared_zeroed: false,
            name: None,
            identity: None,
            in_flight: 4,
            chunk: 2 << 20,
            packing: Packing::Auto,
            patience: Duration::from_secs(120),
        }
    }
}

impl WriterOptions {
    /// What tells the volume from others, as its owner says.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.identity.as_deref().map(Fingerprint::of_volume)
    }

    /// The same, as far as it can be done.
    pub(super) fn within_limits(mut self) -> WriterOptions {
        self.in_flight = self.in_flight.clamp(1, 64);
        self.chunk = self.chunk.clamp(64 << 10, 64 << 20);
        self
    }
}
