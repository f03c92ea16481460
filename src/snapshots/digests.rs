//! Digests of a disk's plain bytes. Holes are not read: their zeros come from memory.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;

use super::error::SnapshotError;
use super::fetch;
use super::walk::Walk;
use crate::extents::{RangeKind, Span};
use crate::protocol::digest::{Algorithm, BlockDigests, Digests};

/// Bytes read, or zeros digested, between two looks whether anybody still waits.
const STEP: u64 = 1 << 20;

/// Digests a disk. `walk` goes over all of it, from its beginning. None where nobody waits any
/// more, which `wanted` tells.
///
/// # Errors
/// [`SnapshotError::Io`].
pub fn digests(
    walk: Walk,
    algorithm: Algorithm,
    block: Option<u64>,
    wanted: impl Fn() -> bool,
) -> Result<Option<Digests>, SnapshotError> {
    let mut blocks = BlockDigests::new(algorithm, block);
    let path = walk.path().clone();
    // One piece is read while another is digested.
    let (send, pieces) = sync_channel(1);
    // The closure owns the receiver: to leave it, however, is what ends the reader.
    thread::scope(move |scope| {
        thread::Builder::new()
            .name("digest".to_owned())
            .spawn_scoped(scope, move || {
                let end = match read(walk, &send) {
                    Ok(true) => Piece::End,
                    // Nobody takes the pieces.
                    Ok(false) => return,
                    Err(error) => Piece::Error(error),
                };
                let _ = send.send(end);
            })
            .map_err(SnapshotError::io("cannot begin to read", &path))?;
        loop {
            if !wanted() {
                return Ok(None);
            }
            match pieces.recv() {
                Ok(Piece::Data(bytes)) => blocks.take(&bytes),
                Ok(Piece::Zeros(length)) => blocks.take_zeros(length),
                Ok(Piece::End) => return Ok(Some(blocks.finish())),
                Ok(Piece::Error(error)) => return Err(error),
                Err(_) => {
                    return Err(SnapshotError::Io {
                        what: "cannot digest",
                        path,
                        source: io::Error::other("its reader ended badly"),
                    });
                }
            }
        }
    })
}

enum Piece {
    Data(Bytes),
    /// At most [`STEP`].
    Zeros(u64),
    End,
    Error(SnapshotError),
}

/// Hands out all of a disk, piece by piece. False where nobody takes them.
fn read(mut walk: Walk, send: &SyncSender<Piece>) -> Result<bool, SnapshotError> {
    while let Some(stretch) = walk.step()? {
        for range in stretch.ranges {
            let mut start = range.start;
            while start < range.end() {
                let length = (STEP - start % STEP).min(range.end() - start);
                let piece = match range.kind {
                    RangeKind::Zero => Piece::Zeros(length),
                    RangeKind::Data => Piece::Data(
                        fetch::read(walk.file(), &Span { start, length })
                            .map_err(SnapshotError::io("cannot read", walk.path()))?,
                    ),
                };
                if send.send(piece).is_err() {
                    return Ok(false);
                }
                start += length;
            }
        }
    }
    Ok(true)
}
