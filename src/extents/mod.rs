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
//! | compare | [`mod@sweep`] | segments of the base and of the current snapshot → pieces, and what changed |
//! | sandwich | [`mod@page`] | a stretch of both maps, and a digest of each ([`mod@fingerprint`]) to see that it held still while it was read |
//! | answer | [`mod@ranges`] | changes → data and zero ranges, squashed |
//! | fetch | [`mod@reads`] | ranges → few large reads, across small gaps |

mod fingerprint;
mod merge;
mod page;
mod ranges;
mod reads;
mod segments;
mod sweep;

pub use fingerprint::{Fingerprint, Fingerprinting};
pub use merge::Merge;
pub use page::{Page, PageLimit, verified};
pub use ranges::{Range, RangeKind, squash};
pub use reads::{Fetch, Fetches, Span};
pub use segments::{Content, Extent, Segment, Segments, flags};
pub use sweep::{Change, Piece, Sweep, sweep};

#[cfg(test)]
mod model;
