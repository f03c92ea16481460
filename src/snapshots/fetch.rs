//! Reading several stretches of a disk at once.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;

use super::buffers::{Buffer, Share};
use crate::extents::{Fetch, Fetches, Span};
use crate::sys::aligned::ALIGNMENT;
use crate::sys::uncached::UncachedFile;

/// Ranges with their bytes.
pub struct Fetched {
    fetches: Fetches,
    bytes: Bytes,
    places: Vec<usize>,
}

/// What a range, or a part of one, holds.
pub enum Part {
    /// These bytes, from this offset on.
    Data(u64, Bytes),
    /// Zeros.
    Zero(Span),
}

impl Fetched {
    /// Reads them, to memory of `share`.
    ///
    /// # Errors
    /// As [`fetch`].
    pub fn read(file: &UncachedFile, fetches: Fetches, share: &Share) -> io::Result<Fetched> {
        let mut buffer = buffer_for(&fetches, share);
        let lanes = share.allowance().lanes;
        let places = fetch(file, &fetches.reads, &mut buffer, lanes)?;
        Ok(Fetched::of(fetches, buffer, places))
    }

    /// The same without waiting; the ranges are given back where not all of it is cached.
    pub fn read_now(
        file: &UncachedFile,
        fetches: Fetches,
        share: &Share,
    ) -> Result<Fetched, Fetches> {
        let mut buffer = buffer_for(&fetches, share);
        match fetch_now(file, &fetches.reads, &mut buffer) {
            Some(places) => Ok(Fetched::of(fetches, buffer, places)),
            None => Err(fetches),
        }
    }

    fn of(fetches: Fetches, buffer: Buffer, places: Vec<usize>) -> Fetched {
        Fetched {
            fetches,
            bytes: buffer.freeze(),
            places,
        }
    }

    /// In order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.fetches.parts.iter().map(|part| match *part {
            Fetch::Zero(span) => Part::Zero(span),
            Fetch::Data(span, number) => {
                let within = span.start - self.fetches.reads[number].start;
                let at = self.places[number] + usize::try_from(within).unwrap_or(usize::MAX);
                let length = usize::try_from(span.length).unwrap_or(usize::MAX);
                Part::Data(span.start, self.bytes.slice(at..at + length))
            }
        })
    }
}

fn buffer_for(fetches: &Fetches, share: &Share) -> Buffer {
    share.take(usize::try_from(fetches.room()).unwrap_or(usize::MAX))
}

/// Reads each of these stretches into `buffer`, whose address is a multiple of [`ALIGNMENT`]: where
/// in it each of them begins. A device with latency answers several reads together, so there are as many
/// on their way as there are lanes, or as many as there can be threads.
///
/// # Errors
/// The first read that fails; [`io::ErrorKind::InvalidInput`] where they do not fit.
fn fetch(
    file: &UncachedFile,
    spans: &[Span],
    buffer: &mut [u8],
    lanes: usize,
) -> io::Result<Vec<usize>> {
    let mut places = Places::of(spans, buffer)?;
    // What comes from memory does not come sooner on many threads.
    let cached = |span: &Span| file.is_cached(span.start, span.length);
    let lanes = lanes.min(spans.len());
    if lanes <= 1 || spans.iter().all(cached) {
        places.read(file)?;
    } else {
        places.read_in_lanes(file, lanes, |scope, lane| {
            thread::Builder::new()
                .name("fetch".to_owned())
                .spawn_scoped(scope, lane)
        })?;
    }
    Ok(places.begins)
}

/// The same without waiting, if all of it is cached.
fn fetch_now(file: &UncachedFile, spans: &[Span], buffer: &mut [u8]) -> Option<Vec<usize>> {
    let places = Places::of(spans, buffer).ok()?;
    for (span, room) in places.reads {
        let lead = lead(span);
        let length = usize::try_from(span.length).ok()?;
        if !file.read_now(room.get_mut(lead..lead + length)?, span.start) {
            return None;
        }
    }
    Some(places.begins)
}

/// Each stretch with the whole blocks of memory that it is read to.
struct Places<'s, 'b> {
    reads: Vec<(&'s Span, &'b mut [u8])>,
    /// Where in all of the memory each stretch begins.
    begins: Vec<usize>,
}

impl<'s, 'b> Places<'s, 'b> {
    fn of(spans: &'s [Span], buffer: &'b mut [u8]) -> io::Result<Places<'s, 'b>> {
        let mut places = Places {
            reads: Vec::with_capacity(spans.len()),
            begins: Vec::with_capacity(spans.len()),
        };
        let (mut at, mut rest) = (0, buffer);
        for span in spans {
            let room = usize::try_from(span.room()).map_err(io::Error::other)?;
            let Some((place, more)) = rest.split_at_mut_checked(room) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the reads do not fit the buffer",
                ));
            };
            places.reads.push((span, place));
            places.begins.push(at + lead(span));
            (at, rest) = (at + room, more);
        }
        Ok(places)
    }

    fn read(&mut self, file: &UncachedFile) -> io::Result<()> {
        self.reads
            .iter_mut()
            .try_for_each(|(span, room)| read(file, span, room))
    }

    /// The same on this thread and on others, which `spawn` begins: each takes the next read that
    /// nobody has taken. Where there can be no other thread, this one reads all.
    fn read_in_lanes<S>(&mut self, file: &UncachedFile, lanes: usize, spawn: S) -> io::Result<()>
    where
        S: for<'scope> Fn(
            &'scope thread::Scope<'scope, '_>,
            Box<dyn FnOnce() -> io::Result<()> + Send + 'scope>,
        ) -> io::Result<thread::ScopedJoinHandle<'scope, io::Result<()>>>,
    {
        let left = Mutex::new(self.reads.iter_mut());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let lane = || {
            while let Some((span, room)) = next() {
                read(file, span, room)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..lanes)
                .map_while(|_| spawn(scope, Box::new(lane)).ok())
                .collect();
            let own = lane();
            others.into_iter().fold(own, |so_far, other| {
                let other = other
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a read ended badly")));
                so_far.and(other)
            })
        })
    }
}

fn read(file: &UncachedFile, span: &Span, room: &mut [u8]) -> io::Result<()> {
    let length = usize::try_from(span.length).map_err(io::Error::other)?;
    file.read_at(room, span.start, length).map(drop)
}

/// Bytes between the beginning of a block and what is wanted of it.
fn lead(span: &Span) -> usize {
    usize::try_from(span.start % ALIGNMENT as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sys::aligned::AlignedBuffer;

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
            let room: u64 = spans.iter().map(Span::room).sum();
            let mut buffer = AlignedBuffer::new(usize::try_from(room).unwrap());
            let check = |buffer: &[u8], found: &[usize]| {
                assert_eq!(found.len(), spans.len());
                for (span, at) in spans.iter().zip(found) {
                    let start = usize::try_from(span.start).unwrap();
                    let length = usize::try_from(span.length).unwrap();
                    assert_eq!(buffer[*at..at + length], disk[start..start + length]);
                }
            };
            for lanes in [1, 2, 16] {
                buffer.fill(0);
                let found = fetch(&file, &spans, &mut buffer, lanes).unwrap();
                check(&buffer, &found);
            }
            // As where no thread can be had, or one.
            for most in 0..2 {
                buffer.fill(0);
                let mut places = Places::of(&spans, &mut buffer).unwrap();
                let spawned = AtomicUsize::new(0);
                places
                    .read_in_lanes(&file, 16, |scope, lane| {
                        if spawned.fetch_add(1, Ordering::Relaxed) < most {
                            thread::Builder::new().spawn_scoped(scope, lane)
                        } else {
                            Err(io::ErrorKind::WouldBlock.into())
                        }
                    })
                    .unwrap();
                let found = places.begins;
                assert_eq!(spawned.into_inner(), most + 1);
                check(&buffer, &found);
            }
            // Cached, where the file system can tell.
            std::fs::read(&path).unwrap();
            buffer.fill(0);
            if let Some(found) = fetch_now(&file, &spans, &mut buffer) {
                check(&buffer, &found);
            }
            if count > 1 {
                let short = buffer.len() - ALIGNMENT;
                assert!(fetch(&file, &spans, &mut buffer[..short], 16).is_err());
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
        let mut buffer = AlignedBuffer::new(3 * ALIGNMENT);
        for lanes in [1, 2, 16] {
            assert!(fetch(&file, &past, &mut buffer, lanes).is_err());
        }
        assert!(fetch_now(&file, &past, &mut buffer).is_none());
    }
}
