//! Results on standard output: tables for people, other forms for programs.

mod cell;
mod forms;
mod listing;
mod options;

pub use cell::{Cell, moment};
pub use forms::harmless;
pub use listing::Listing;
pub use options::OutputOptions;

use std::io::{self, Write};

/// Whoever read the output does not any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
pub struct ReaderGone;

/// Whether a result could not be written, as opposed to not be made.
pub fn is_unwritten(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>() || error.is::<Unwritten>()
}

/// The output takes nothing.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the result: {0}")]
struct Unwritten(#[source] io::Error);

/// Writes a result.
pub fn write(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(Unwritten(error).into()),
        Ok(()) => Ok(()),
    }
}
