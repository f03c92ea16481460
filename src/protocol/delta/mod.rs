//! The delta stream: every changed byte of a disk in one answer. `docs/delta-stream.md` specifies
//! it for other languages; a test decodes that document's example.
//!
//! ```text
//! stream header   what it is about: JSON between a magic number and a checksum
//! frame …         data, zeros, how far it has come; sorted, not overlapping
//! end             totals, and a checksum chained over all frames
//! ```
//!
//! A stream without its end frame is not complete, whatever it held. No I/O here: [`Encoder`] is
//! the daemon's, [`Decoder`] the client's.

mod compression;
mod decoder;
mod encoder;
mod error;
mod frame;
mod header;
mod runs;

pub use compression::Compression;
pub use decoder::{Decoder, Item};
pub use encoder::{Encoder, Frame};
pub use error::DeltaError;
pub use frame::{FRAME_HEAD, MAX_DATA, MAX_ERROR, Totals};
pub use header::{MAGIC, MAX_HEADER, StreamHeader, VERSION};
pub use runs::{BLOCK, Run, Runs, runs};

/// The media type of a delta stream.
pub const CONTENT_TYPE: &str = "application/vnd.coriolis.ovm-delta";

#[cfg(test)]
mod tests;
