//! Comparing the bytes of two snapshots, where their maps cannot tell or tell too much.

use std::io;

use super::buffers::{Buffer, BufferPool, Share};
use crate::extents::{Range, RangeKind};
use crate::sys::uncached::UncachedFile;

/// Bytes compared as one: a difference anywhere in it names all of it.
pub const BLOCK: usize = 4096;

/// The two snapshots of a disk.
pub struct Sides<'f> {
    /// The older one. What lies past its end differs from whatever the newer one has there.
    pub base: &'f UncachedFile,
    /// The newer one.
    pub current: &'f UncachedFile,
}

/// Memory for reading both sides.
#[derive(Debug)]
pub struct Buffers {
    before: Buffer,
    now: Buffer,
    /// Bytes read at once from either side: whole blocks.
    step: usize,
    _share: Share,
}

impl Buffers {
    /// As large as a stream's may be now. They count as one, until they are dropped.
    pub fn of(pool: &BufferPool) -> Buffers {
        let share = pool.join();
        let step = share.allowance().step;
        Buffers {
            before: share.take(step),
            now: share.take(step),
            step,
            _share: share,
        }
    }
}

/// The blocks of `[start, start + length)` whose bytes differ, as data and zero ranges, and how far
/// it has looked: to the end of the stretch, unless about `limit` ranges were found before. The
/// stretch lies inside the current snapshot.
///
/// # Errors
/// What reading either side gives.
pub fn differences(
    sides: &Sides<'_>,
    buffers: &mut Buffers,
    start: u64,
    length: u64,
    limit: usize,
) -> io::Result<(Vec<Range>, u64)> {
    let mut ranges: Vec<Range> = Vec::new();
    let end = start + length;
    let mut position = start;
    while position < end && ranges.len() < limit {
        // Steps end on block boundaries, whatever the start: then the whole blocks of one fit a buffer.
        let step = (buffers.step as u64).min(end - position);
        let aligned_end = (position + step) / BLOCK as u64 * BLOCK as u64;
        let step = if aligned_end > position && aligned_end < end {
            aligned_end - position
        } else {
            step
        };
        let count = usize::try_from(step).map_err(io::Error::other)?;
        let old = read_or_zero(sides.base, &mut buffers.before, position, count)?;
        let new = read_or_zero(sides.current, &mut buffers.now, position, count)?;
        compare_step(position, old, new, sides.base.size(), &mut ranges);
        position += step;
    }
    Ok((ranges, position))
}

/// Reads a stretch; what lies past the end of the file is zero.
fn read_or_zero<'b>(
    file: &UncachedFile,
    buffer: &'b mut [u8],
    offset: u64,
    count: usize,
) -> io::Result<&'b [u8]> {
    let inside = file.size().saturating_sub(offset);
    let inside = usize::try_from(inside).map_or(count, |inside| inside.min(count));
    let at = if inside == 0 {
        0
    } else {
        file.read_at(buffer, offset, inside)?
    };
    buffer[at + inside..at + count].fill(0);
    Ok(&buffer[at..at + count])
}

fn compare_step(position: u64, old: &[u8], new: &[u8], base_size: u64, ranges: &mut Vec<Range>) {
    let mut done = 0;
    while done < new.len() {
        let offset = position + done as u64;
        // The first block of an unaligned stretch is shorter.
        let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        let length = (BLOCK - within).min(new.len() - done);
        let (was, is) = (&old[done..done + length], &new[done..done + length]);
        if was != is || offset + length as u64 > base_size {
            let kind = if is_zero(is) {
                RangeKind::Zero
            } else {
                RangeKind::Data
            };
            push(ranges, offset, length as u64, kind);
        }
        done += length;
    }
}

fn push(ranges: &mut Vec<Range>, start: u64, length: u64, kind: RangeKind) {
    match ranges.last_mut() {
        Some(last) if last.end() == start && last.kind == kind => last.length += length,
        _ => ranges.push(Range {
            start,
            length,
            kind,
            physical_start: 0,
        }),
    }
}

/// Whether every byte is zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // In one expression without an early exit the compiler uses wide registers.
    bytes
        .chunks(256)
        .all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::extents::squash;

    fn file(directory: &Path, name: &str, bytes: &[u8]) -> UncachedFile {
        let path = directory.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        UncachedFile::open(&path).unwrap()
    }

    /// The same in memory of any size.
    fn named(base: &[u8], current: &[u8], start: u64, length: u64) -> Vec<(u64, u64, RangeKind)> {
        let pool = BufferPool::default();
        let alone = named_in(&pool, base, current, start, length);
        let others: Vec<Share> = (0..500).map(|_| pool.join()).collect();
        let among_many = named_in(&pool, base, current, start, length);
        assert_eq!(alone, among_many);
        drop(others);
        assert_eq!(pool.figures(), BufferPool::default().figures());
        alone
    }

    fn named_in(
        pool: &BufferPool,
        base: &[u8],
        current: &[u8],
        start: u64,
        length: u64,
    ) -> Vec<(u64, u64, RangeKind)> {
        let directory = tempfile::tempdir().unwrap();
        let (base, current) = (
            file(directory.path(), "base", base),
            file(directory.path(), "current", current),
        );
        let sides = Sides {
            base: &base,
            current: &current,
        };
        let buffers = &mut Buffers::of(pool);
        let (ranges, reached) = differences(&sides, buffers, start, length, usize::MAX).unwrap();
        assert_eq!(reached, start + length);
        let (mut in_parts, mut at): (Vec<Range>, u64) = (Vec::new(), start);
        while at < reached {
            let (more, so_far) = differences(&sides, buffers, at, reached - at, 1).unwrap();
            assert!(so_far > at, "no progress");
            in_parts.extend(more);
            at = so_far;
        }
        assert_eq!(
            squash(in_parts),
            ranges,
            "as far as the limit, then on from there"
        );
        ranges
            .iter()
            .map(|range| (range.start, range.length, range.kind))
            .collect()
    }

    #[test]
    fn only_blocks_that_differ_are_named() {
        let base = vec![1; 3 << 20];
        let mut current = base.clone();
        current[5000] = 2;
        current[(1 << 20) - 1] = 2;
        current[1 << 20] = 2;
        current[(2 << 20)..(2 << 20) + 8192].fill(0);
        assert_eq!(
            named(&base, &current, 0, 3 << 20),
            [
                (4096, 4096, RangeKind::Data),
                ((1 << 20) - 4096, 8192, RangeKind::Data),
                (2 << 20, 8192, RangeKind::Zero),
            ]
        );
        assert_eq!(named(&base, &base, 0, 3 << 20), []);
    }

    /// Wherever a stretch begins and ends, what is read for a step of it fits the buffer.
    #[test]
    fn stretches_of_any_place_and_length_are_compared() {
        const SIZE: usize = 400_000;
        let directory = tempfile::tempdir().unwrap();
        let base: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
        let mut current = base.clone();
        for at in (0..SIZE).step_by(9973) {
            current[at] ^= 1;
        }
        let (before, now) = (
            file(directory.path(), "base", &base[..SIZE - 70_001]),
            file(directory.path(), "current", &current),
        );
        let sides = Sides {
            base: &before,
            current: &now,
        };
        let pool = BufferPool::default();
        let _others: Vec<Share> = (0..500).map(|_| pool.join()).collect();
        let mut buffers = Buffers::of(&pool);
        let step = buffers.step;
        for start in [0, 1, 4095, 4096, 5000, step - 1, step, step + 1] {
            for end in [start + 1, start + step - 1, start + step, start + step + 1]
                .into_iter()
                .chain([2 * step, 3 * step + 1, 5 * step, SIZE - 4096, SIZE])
                .filter(|end| *end > start)
            {
                let length = (end - start) as u64;
                let (ranges, reached) =
                    differences(&sides, &mut buffers, start as u64, length, usize::MAX).unwrap();
                assert_eq!(reached, end as u64);
                // Bytes that differ are named, and blocks are whole but for the stretch's ends.
                let differs = |at: usize| base.get(at) != current.get(at) || at >= SIZE - 70_001;
                for at in (start..end).filter(|at| differs(*at)) {
                    let at = at as u64;
                    let is_in = |range: &Range| range.start <= at && at < range.end();
                    assert!(ranges.iter().any(is_in), "{at} in {start}..{end}");
                }
                for range in ranges {
                    let place = |at: u64| usize::try_from(at).unwrap();
                    let (first, last) = (place(range.start), place(range.end()));
                    assert!(first >= start && last <= end);
                    assert!(first == start || first % BLOCK == 0);
                    assert!(last == end || last % BLOCK == 0);
                    for block in (first / BLOCK)..last.div_ceil(BLOCK) {
                        let block = (block * BLOCK).max(start)..((block + 1) * BLOCK).min(end);
                        assert!(block.into_iter().any(differs), "{start}..{end}: {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_end_of_either_file_is_respected() {
        let base = vec![7; 5000];
        let mut grown = vec![7; 5000];
        grown.resize(20_000, 0);
        assert_eq!(
            named(&base, &grown, 0, 20_000),
            [
                (4096, 4096, RangeKind::Data),
                (8192, 11_808, RangeKind::Zero)
            ],
            "all of the new tail, zeros too, from the block that holds the old end"
        );
        grown[19_999] = 1;
        assert_eq!(
            named(&base, &grown, 0, 20_000),
            [
                (4096, 4096, RangeKind::Data),
                (8192, 8192, RangeKind::Zero),
                (16_384, 3616, RangeKind::Data)
            ]
        );
        let shrunk = vec![7; 100];
        assert_eq!(named(&base, &shrunk, 0, 100), []);
        let mut changed = base.clone();
        changed[4999] = 0;
        assert_eq!(
            named(&base, &changed, 4097, 903),
            [(4097, 903, RangeKind::Data)]
        );
    }
}
