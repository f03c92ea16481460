//! Which blocks of a target differ from a snapshot's.
//!
//! By BLAKE3, not by XXH3: the bytes are a guest's, and whoever can make two blocks of one digest
//! could keep a change from being seen. It costs less than reading the disk.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::ReplicateError;
use super::dispenser::Segment;
use super::endpoints::Endpoints;
use super::stop::Stop;
use crate::client::target::Target;
use crate::client::{Client, ClientError, DiskOf};
use crate::protocol::DiskDigests;
use crate::protocol::digest::{Algorithm, BlockDigests, MAX_DIGESTS};

const ALGORITHM: Algorithm = Algorithm::Blake3;
/// The least bytes of a block: what differs anywhere in one is fetched whole.
const BLOCK: u64 = 1 << 20;
/// Read at once.
const PIECE: u64 = 1 << 20;

/// Bytes of a block, for a disk of this size.
pub(super) fn block_for(size: u64) -> u64 {
    size.div_ceil(MAX_DIGESTS)
        .next_multiple_of(BLOCK)
        .max(BLOCK)
}

/// A disk of a snapshot and the target that should hold it.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) vm: String,
    pub(super) snapshot: Uuid,
    pub(super) disk: String,
    /// Bytes of the disk.
    pub(super) size: u64,
    pub(super) target: Arc<dyn Target>,
}

/// What came out.
pub(super) struct Differing {
    pub(super) block: u64,
    /// Neighbouring blocks joined.
    pub(super) segments: Vec<Segment>,
}

impl Differing {
    /// Where each block begins.
    pub(super) fn offsets(&self) -> Vec<u64> {
        let step = usize::try_from(self.block).unwrap_or(usize::MAX);
        let offsets = |segment: &Segment| (segment.from..segment.to).step_by(step);
        self.segments.iter().flat_map(offsets).collect()
    }
}

/// Compares both sides; each digests its own bytes, at the same time.
pub(super) async fn differing(
    endpoints: &Endpoints,
    pair: &Pair,
) -> Result<Differing, ReplicateError> {
    let block = block_for(pair.size);
    let unwanted = Stop::beside(&endpoints.stop);
    let reading = {
        let (pair, stop) = (pair.clone(), unwanted.clone());
        tokio::task::spawn_blocking(move || digests_of(&pair, block, &stop))
    };
    let what = format!("digest {} of snapshot {}", pair.disk, pair.snapshot);
    let there = endpoints
        .ask(&what, |client| {
            let pair = pair.clone();
            async move { digests_from(&client, &pair, block).await }
        })
        .await;
    if there.is_err() {
        unwanted.fail();
    }
    // Nothing of ours may be left at work.
    let here = reading
        .await
        .map_err(|error| ReplicateError::Setup(format!("digesting ended badly: {error}")))?;
    let (here, there) = (here, there?);
    let here = here.map_err(|(offset, source)| ReplicateError::Target {
        disk: pair.disk.clone(),
        target: pair.target.name(),
        offset: Some(offset),
        source,
    })?;
    let Some(here) = here else {
        return Err(ReplicateError::Cancelled);
    };
    Ok(Differing {
        block,
        segments: compare(&here, &there.digests, block, pair.size),
    })
}

/// The daemon's digests, one for each block.
async fn digests_from(
    client: &Client,
    pair: &Pair,
    block: u64,
) -> Result<DiskDigests, ClientError> {
    digests_by(client, pair, ALGORITHM, block).await
}

/// The same by any algorithm.
pub(super) async fn digests_by(
    client: &Client,
    pair: &Pair,
    algorithm: Algorithm,
    block: u64,
) -> Result<DiskDigests, ClientError> {
    let disk = DiskOf {
        vm: &pair.vm,
        snapshot: pair.snapshot,
        disk: &pair.disk,
    };
    let found = client.digests(&disk, algorithm, Some(block)).await?;
    let expected = (algorithm.as_str(), pair.size, Some(block));
    if (found.algorithm.as_str(), found.size, found.block) != expected
        || found.digests.len() as u64 != pair.size.div_ceil(block)
    {
        return Err(ClientError::Io(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the answer has {} digests by {} of blocks of {:?} bytes, of a disk of {} bytes; \
                 {} of blocks of {block} bytes, of a disk of {} bytes was asked for",
                found.digests.len(),
                found.algorithm,
                found.block,
                found.size,
                expected.0,
                pair.size
            ),
        )));
    }
    Ok(found)
}

/// Of the target's bytes, as many as the disk has. None where it was stopped.
fn digests_of(
    pair: &Pair,
    block: u64,
    stop: &Stop,
) -> Result<Option<Vec<String>>, (u64, io::Error)> {
    let mut digests = BlockDigests::new(ALGORITHM, Some(block));
    pair.target.forget_copies().map_err(|error| (0, error))?;
    let mut buffer = vec![0; usize::try_from(PIECE.min(pair.size)).unwrap_or(0)];
    let mut at = 0;
    while at < pair.size {
        if stop.is_stopped() {
            return Ok(None);
        }
        let length = usize::try_from(PIECE.min(pair.size - at)).unwrap_or(0);
        let piece = &mut buffer[..length];
        pair.target
            .read_at(at, piece)
            .map_err(|error| (at, error))?;
        digests.take(piece);
        at += length as u64;
    }
    Ok(Some(digests.finish().blocks))
}

/// Where digests differ. As many on both sides as the disk has blocks.
pub(super) fn compare(here: &[String], there: &[String], block: u64, size: u64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut from = 0;
    for number in 0..here.len().max(there.len()) {
        let to = (from + block).min(size);
        let same = here.get(number).is_some_and(|one| {
            let other = there.get(number);
            other.is_some_and(|other| one.eq_ignore_ascii_case(other))
        });
        if !same {
            match segments.last_mut() {
                Some(last) if last.to == from => last.to = to,
                _ => segments.push(Segment { from, to }),
            }
        }
        from = to;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_many_as_an_answer_holds() {
        for (size, block) in [
            (0, BLOCK),
            (1, BLOCK),
            (BLOCK * MAX_DIGESTS, BLOCK),
            (BLOCK * MAX_DIGESTS + 1, 2 * BLOCK),
            (2 << 40, 8 * BLOCK),
        ] {
            assert_eq!(block_for(size), block, "{size}");
            assert!(size.div_ceil(block) <= MAX_DIGESTS);
        }
    }

    #[test]
    fn what_differs_is_joined_and_ends_with_the_disk() {
        let digests = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let segment = |from, to| Segment { from, to };
        for (here, there, expected) in [
            ("abcd", "abcd", vec![]),
            ("abcd", "abxd", vec![segment(20, 30)]),
            ("abcd", "axxd", vec![segment(10, 30)]),
            ("abcd", "xbcx", vec![segment(0, 10), segment(30, 35)]),
            ("abcd", "ABCD", vec![]),
            ("abc", "abcd", vec![segment(30, 35)]),
        ] {
            let found = compare(&digests(here), &digests(there), 10, 35);
            assert_eq!(found, expected, "{here} {there}");
            let blocks = Differing {
                block: 10,
                segments: found,
            };
            assert!(blocks.offsets().iter().all(|offset| offset % 10 == 0));
        }
    }
}
