//! From a stream's frames to the target, on a thread that may block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::Event;
use super::job::Job;

/// Frames between reader and writer: one is written while others come.
pub(super) const PIECES: usize = 4;

/// Of zeros at the end of a disk so many bytes are written all the same: where the place is too small,
/// that fails. What a target says of its size may be nothing, or wrong.
const TAIL: u64 = 4096;

/// What a frame tells the target.
#[derive(Debug)]
pub(super) enum Piece {
    Data { offset: u64, bytes: Bytes },
    Zero { offset: u64, length: u64 },
    Reached(u64),
}

/// A target that did not take something.
#[derive(Debug)]
pub(super) struct NotWritten {
    pub(super) offset: u64,
    pub(super) error: io::Error,
}

/// Writes what comes, until nothing more does. `from`: where the first piece may begin. Answers how
/// far it has come.
pub(super) fn write(
    job: &Arc<Job>,
    from: u64,
    pieces: &mut Receiver<Piece>,
) -> Result<u64, NotWritten> {
    let tally = &job.tally;
    let mut reached = from;
    // Where the last range ended, and whether it was zeros.
    let mut range = None;
    while let Some(piece) = pieces.blocking_recv() {
        let (offset, length) = match &piece {
            Piece::Data { offset, bytes } => (*offset, bytes.len() as u64),
            Piece::Zero { offset, length } => (*offset, *length),
            Piece::Reached(offset) => (*offset, 0),
        };
        let failed = |error| NotWritten { offset, error };
        // The decoder has seen to that. Nothing else may ever be written.
        let end = offset.checked_add(length).filter(|end| *end <= job.size);
        let Some(end) = end.filter(|_| offset >= reached) else {
            return Err(failed(io::Error::other(format!(
                "{length} bytes at {offset} do not belong to what was asked for"
            ))));
        };
        let is_zero = match &piece {
            Piece::Data { bytes, .. } => {
                job.target.write_at(offset, bytes).map_err(failed)?;
                job.wrote(offset, bytes);
                tally.data.fetch_add(length, Relaxed);
                Some(false)
            }
            Piece::Zero { .. } if job.skip_zeros => {
                let is_tail = end == job.size;
                let written = if is_tail { length.min(TAIL) } else { 0 };
                if written > 0 {
                    job.target.zero(end - written, written).map_err(failed)?;
                    tally.zeros.fetch_add(written, Relaxed);
                }
                tally.zeros_skipped.fetch_add(length - written, Relaxed);
                None
            }
            Piece::Zero { .. } => {
                job.target.zero(offset, length).map_err(failed)?;
                job.zeroed(offset, length);
                tally.zeros.fetch_add(length, Relaxed);
                Some(true)
            }
            Piece::Reached(_) => None,
        };
        if let Some(is_zero) = is_zero {
            if range != Some((offset, is_zero)) {
                tally.ranges.fetch_add(1, Relaxed);
            }
            range = Some((end, is_zero));
        }
        let done = tally.covered.fetch_add(end - reached, Relaxed) + (end - reached);
        reached = end;
        job.progress.on(&Event::DiskAdvanced {
            disk: &job.disk,
            done,
            of: job.of.load(Relaxed),
            written: tally.data.load(Relaxed),
        });
    }
    Ok(reached)
}
