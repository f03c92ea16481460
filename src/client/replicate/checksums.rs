//! Whether a target that cannot be read from here holds what a snapshot has: whoever has it makes a
//! checksum of the whole disk there. Only where that differs, one of each part, to tell where.
//!
//! By SHA-256, which Coriolis's writers know.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::ReplicateError;
use super::digesting::{Differing, Pair, compare, digests_by};
use super::dispenser::Segment;
use super::endpoints::Endpoints;
use super::journal::blocking;
use crate::protocol::digest::Algorithm;

/// So many parts at most: each costs a job on the worker.
const PARTS: u64 = 64;
/// The daemon takes multiples of 4096, from 65536 on.
const LEAST: u64 = 1 << 20;

/// Bytes of a part, for a disk of this size.
fn part_for(size: u64) -> u64 {
    size.div_ceil(PARTS).next_multiple_of(LEAST).max(LEAST)
}

/// What differs, in parts. None where nobody makes checksums of the target.
pub(super) async fn differing_there(
    endpoints: &Endpoints,
    pair: &Pair,
) -> Result<Option<Differing>, ReplicateError> {
    if checksum(pair, 0..0).await?.is_none() {
        return Ok(None);
    }
    let block = part_for(pair.size);
    let what = format!("digest {} of snapshot {}", pair.disk, pair.snapshot);
    let ours = endpoints.ask(&what, |client| {
        let pair = pair.clone();
        async move { digests_by(&client, &pair, Algorithm::Sha256, block).await }
    });
    // Both read the whole disk: at the same time.
    let (ours, theirs) = tokio::try_join!(ours, checksum(pair, 0..pair.size))?;
    let Some(theirs) = theirs else {
        return Ok(None);
    };
    if theirs.eq_ignore_ascii_case(&ours.whole) {
        return Ok(Some(Differing {
            block,
            segments: Vec::new(),
        }));
    }
    let mut parts = Vec::new();
    let mut from = 0;
    while from < pair.size {
        let to = (from + block).min(pair.size);
        // What was told once is told again.
        parts.extend(checksum(pair, from..to).await?);
        from = to;
    }
    let mut segments = compare(&parts, &ours.digests, block, pair.size);
    if segments.is_empty() {
        // It has changed in between, or one of them was wrong: nothing is known of any part.
        segments.push(Segment {
            from: 0,
            to: pair.size,
        });
    }
    Ok(Some(Differing { block, segments }))
}

async fn checksum(pair: &Pair, range: Range<u64>) -> Result<Option<String>, ReplicateError> {
    let (target, offset) = (Arc::clone(&pair.target), range.start);
    let made = blocking(move || target.sha256(range)).await?;
    made.map_err(|source: io::Error| ReplicateError::Target {
        disk: pair.disk.clone(),
        target: pair.target.name(),
        offset: Some(offset),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_and_the_daemon_takes_them() {
        for (size, part) in [
            (0, LEAST),
            (1, LEAST),
            (64 << 20, 1 << 20),
            ((64 << 20) + 1, 2 << 20),
            (1 << 40, 1 << 34),
        ] {
            assert_eq!(part_for(size), part, "{size}");
            assert!(size.div_ceil(part) <= PARTS);
        }
    }
}
