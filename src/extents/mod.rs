//! Extent maps and their comparison: pure arithmetic, no I/O.
//!
//! A file system tells where each byte of a file lies as a list of [`Extent`]s (FIEMAP). Two
//! snapshots of one disk share the extents that the guest left alone, so comparing the two lists
//! tells what changed without reading a byte of data. The contract in one sentence: the
//! comparison *may report false positives and never misses a change*.
//!
//! | step | where | in → out |
//! | --- | --- | --- |
//! | classify | [`mod@segments`] | raw extents + file size → [`Segment`]s that tile the file: zero, data at an address, opaque |
//! | normalise | [`mod@merge`] | segments → the fewest segments that say the same |
//! | compare | [`mod@sweep`] | segments of the base and of the current snapshot → what changed |
//! | sandwich | [`mod@fingerprint`] | segments → a digest, to see that a map held still while it was read |
//! | answer | [`mod@ranges`] | changes → data and zero ranges, squashed |

mod fingerprint;
mod merge;
mod ranges;
mod segments;
mod sweep;

pub use fingerprint::{Fingerprint, Fingerprinting};
pub use merge::{Merge, merge};
pub use ranges::{Range, RangeKind, squash};
pub use segments::{Content, Extent, Segment, Segments, flags};
pub use sweep::{Change, Sweep, sweep};

#[cfg(test)]
mod model;
