//! Digests of a disk's plain bytes. Holes are not read: their zeros come from memory.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::buffers::Share;
use super::error::SnapshotError;
use super::fetch::{Fetched, Part};
use super::walk::Walk;
use crate::extents::{Fetches, Range, squash};
use crate::protocol::digest::{Algorithm, BlockDigests, Digests};

/// Zeros digested between two looks whether anybody still waits.
const STEP: u64 = 1 << 20;

/// Digests a disk. `walk` goes over all of it, from its beginning; its bytes are in memory of
/// `share`. None where nobody waits any more, which `wanted` tells.
///
/// # Errors
/// [`SnapshotError::Io`].
pub fn digests(
    mut walk: Walk,
    algorithm: Algorithm,
    block: Option<u64>,
    share: Share,
    wanted: impl Fn() -> bool,
) -> Result<Option<Digests>, SnapshotError> {
    let mut blocks = BlockDigests::new(algorithm, block);
    let path = walk.path().clone();
    // One piece is read while another is digested.
    let (send, pieces) = sync_channel(0);
    let span = tracing::Span::current();
    // The closure owns the receiver: to leave it, however, is what ends the reader.
    thread::scope(move |scope| {
        thread::Builder::new()
            .name("digest".to_owned())
            .spawn_scoped(scope, move || {
                let end = match span.in_scope(|| read(&mut walk, &share, &send)) {
                    Ok(true) => Piece::End,
                    // Nobody takes the pieces.
                    Ok(false) => return,
                    Err(error) => Piece::Error(error),
                };
                let _ = send.send(end);
            })
            .map_err(SnapshotError::io("cannot begin to read", &path))?;
        loop {
            match pieces.recv() {
                Ok(Piece::Read(fetched)) => {
                    if !take(&mut blocks, &fetched, &wanted) {
                        return Ok(None);
                    }
                }
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

/// Digests a piece. False where nobody waits any more.
fn take(blocks: &mut BlockDigests, fetched: &Fetched, wanted: &impl Fn() -> bool) -> bool {
    for part in fetched.parts() {
        match part {
            Part::Data(_, bytes) => blocks.take(&bytes),
            Part::Zero(span) => {
                let mut left = span.length;
                while left > 0 && wanted() {
                    let length = left.min(STEP);
                    blocks.take_zeros(length);
                    left -= length;
                }
            }
        }
        if !wanted() {
            return false;
        }
    }
    true
}

enum Piece {
    Read(Fetched),
    End,
    Error(SnapshotError),
}

/// Hands out all of a disk, piece by piece. False where nobody takes them.
fn read(walk: &mut Walk, share: &Share, send: &SyncSender<Piece>) -> Result<bool, SnapshotError> {
    while let Some(stretch) = walk.step()? {
        let mut ranges: VecDeque<Range> = squash(stretch.ranges).into();
        while !ranges.is_empty() {
            let fetches = Fetches::take(&mut ranges, share.allowance().step as u64);
            let fetched = Fetched::read(walk.file(), fetches, share)
                .map_err(SnapshotError::io("cannot read", walk.path()))?;
            if send.send(Piece::Read(fetched)).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
