//! Reading several stretches of a disk at once.

use std::io;
use std::thread;

use bytes::Bytes;

use crate::extents::Span;
use crate::sys::aligned::{ALIGNMENT, AlignedBuffer};
use crate::sys::uncached::UncachedFile;

/// Reads on their way at the same time: a device with latency answers them together.
const LANES: usize = 8;

/// The bytes of each of these stretches.
///
/// # Errors
/// The first read that fails.
pub fn fetch(file: &UncachedFile, spans: &[Span]) -> io::Result<Vec<Bytes>> {
    // What comes from memory does not come sooner on many threads.
    let cached = |span: &Span| file.is_cached(span.start, span.length);
    if spans.len() <= 1 || spans.iter().all(cached) {
        return spans.iter().map(|span| read(file, span)).collect();
    }
    let share = spans.len().div_ceil(LANES);
    let lanes: Vec<io::Result<Vec<Bytes>>> = thread::scope(|scope| {
        let lanes: io::Result<Vec<_>> = spans
            .chunks(share)
            .map(|spans| {
                thread::Builder::new()
                    .name("fetch".to_owned())
                    .spawn_scoped(scope, move || {
                        spans.iter().map(|span| read(file, span)).collect()
                    })
            })
            .collect();
        lanes.map(|lanes| {
            lanes
                .into_iter()
                .map(|lane| {
                    lane.join()
                        .unwrap_or_else(|_| Err(io::Error::other("a read ended badly")))
                })
                .collect()
        })
    })?;
    let mut all = Vec::with_capacity(spans.len());
    for lane in lanes {
        all.extend(lane?);
    }
    Ok(all)
}

/// One stretch, in memory of its own.
pub(super) fn read(file: &UncachedFile, span: &Span) -> io::Result<Bytes> {
    let length = usize::try_from(span.length).map_err(io::Error::other)?;
    let mut buffer = AlignedBuffer::new(length + 2 * ALIGNMENT);
    let at = file.read_at(&mut buffer, span.start, length)?;
    Ok(Bytes::from_owner(buffer).slice(at..at + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_has_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &disk).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        let file = UncachedFile::open(&path).unwrap();
        for count in [0, 1, 2, 7, 100] {
            let spans: Vec<Span> = (0..count)
                .map(|at| Span {
                    start: at * 4_321,
                    length: 1 + at * 17,
                })
                .collect();
            let found = fetch(&file, &spans).unwrap();
            assert_eq!(found.len(), spans.len());
            for (span, bytes) in spans.iter().zip(found) {
                let start = usize::try_from(span.start).unwrap();
                assert_eq!(bytes, disk[start..start + bytes.len()]);
                assert_eq!(bytes.len() as u64, span.length);
            }
        }
        let past = [
            Span {
                start: 0,
                length: 5,
            },
            Span {
                start: 499_999,
                length: 2,
            },
        ];
        assert!(fetch(&file, &past).is_err());
    }
}
