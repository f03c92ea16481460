//! Every byte that a replica must write, as a stream: the walk's ranges, read and framed step by
//! step.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::buffers::Share;
use super::error::SnapshotError;
use super::fetch::{Fetched, Part};
use super::walk::Walk;
use crate::extents::{Fetches, Range, RangeKind, squash};
use crate::protocol::delta::{Compression, DeltaError, Encoder, MAX_DATA, StreamHeader, runs};
use crate::protocol::{ErrorBody, rbd};

/// Bytes that are sent from the memory that they were read to; fewer are copied to their
/// neighbours.
const BY_THEMSELVES: usize = 16 << 10;

/// How a delta is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ours.
    Native(Compression),
    /// Ceph's `rbd diff v1`.
    Rbd,
}

/// A delta stream on its way out. Holds a buffer of the pool at a time.
#[derive(Debug)]
pub struct Delta {
    walk: Walk,
    writer: Writer,
    /// Found and not yet read.
    ranges: VecDeque<Range>,
    /// Taken from those; to be read next.
    fetches: Option<Fetches>,
    share: Share,
    opening: Option<Vec<u8>>,
    ended: bool,
}

#[derive(Debug)]
enum Writer {
    Native(Option<Box<Encoder>>),
    Rbd,
}

impl Delta {
    /// What a walk, at its beginning, finds; in memory of `share`.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] for a first page that cannot be read.
    pub fn new(mut walk: Walk, format: Format, share: Share) -> Result<Delta, SnapshotError> {
        let from = walk.position();
        // The header says how changes are found: look first.
        let ranges = walk.step()?.map(|stretch| stretch.ranges);
        let disk = walk.disk();
        let (writer, opening) = match format {
            Format::Native(compression) => {
                let header = StreamHeader {
                    snapshot: walk.snapshot(),
                    disk: disk.name.clone(),
                    size: disk.size,
                    base: walk.base(),
                    from,
                    to: walk.ends_early(),
                    method: walk.method().as_str().to_owned(),
                    reason: walk.reason().map(str::to_owned),
                };
                let (encoder, bytes) =
                    Encoder::new(&header, compression).map_err(|error| broken(&walk, error))?;
                (Writer::Native(Some(Box::new(encoder))), bytes)
            }
            Format::Rbd => {
                let base = walk.base().map(|base| base.to_string());
                let to = walk.snapshot().to_string();
                (Writer::Rbd, rbd::begin(base.as_deref(), &to, disk.size))
            }
        };
        Ok(Delta {
            walk,
            writer,
            ranges: squash(ranges.unwrap_or_default()).into(),
            fetches: None,
            share,
            opening: Some(opening),
            ended: false,
        })
    }

    /// The next pieces of the stream, possibly none; None at its end.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the stream cannot go on, see [`Delta::give_up`].
    pub fn step(&mut self) -> Result<Option<Vec<Bytes>>, SnapshotError> {
        let pieces = self.make_step()?;
        self.opening = None;
        Ok(pieces)
    }

    fn make_step(&mut self) -> Result<Option<Vec<Bytes>>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = self.begin();
        if self.fetches.is_none() && self.ranges.is_empty() {
            match self.walk.step()? {
                None => {
                    self.end(&mut out)?;
                    return Ok(Some(out.finish()));
                }
                Some(stretch) if stretch.ranges.is_empty() => {
                    self.reached(&mut out, stretch.reached)?;
                    return Ok(Some(out.finish()));
                }
                Some(stretch) => self.ranges = squash(stretch.ranges).into(),
            }
        }
        let fetches = self.next_fetches();
        let fetched = Fetched::read(self.walk.file(), fetches, &self.share)
            .map_err(SnapshotError::io("cannot read", self.walk.path()))?;
        self.send(&mut out, &fetched)?;
        Ok(Some(out.finish()))
    }

    /// The same where that takes no waiting and little time: the bytes are cached, and nothing is to
    /// be compressed. None where [`Delta::step`] has to do it.
    ///
    /// # Errors
    /// As [`Delta::step`].
    pub fn step_now(&mut self) -> Option<Result<Vec<Bytes>, SnapshotError>> {
        if self.ended || self.packs() || (self.fetches.is_none() && self.ranges.is_empty()) {
            return None;
        }
        let fetches = self.next_fetches();
        let first = fetches.reads.first();
        if first.is_some_and(|first| !self.comes_now(first.start)) {
            self.fetches = Some(fetches);
            return None;
        }
        let fetched = match Fetched::read_now(self.walk.file(), fetches, &self.share) {
            Ok(fetched) => fetched,
            Err(fetches) => {
                self.fetches = Some(fetches);
                return None;
            }
        };
        let mut out = self.begin();
        let sent = self.send(&mut out, &fetched);
        Some(sent.map(|()| {
            self.opening = None;
            out.finish()
        }))
    }

    /// Whether the next step is likely to be one for [`Delta::step_now`].
    #[must_use]
    pub fn comes_next(&self) -> bool {
        let first = self.ranges.front();
        !self.packs()
            && first
                .is_some_and(|first| first.kind == RangeKind::Zero || self.comes_now(first.start))
    }

    /// Whether the next step may be made while the last one is sent.
    #[must_use]
    pub fn reads_ahead(&self) -> bool {
        self.share.allowance().ahead > 0
    }

    fn packs(&self) -> bool {
        matches!(&self.writer, Writer::Native(Some(encoder)) if encoder.packs())
    }

    /// With the header, until a step that has it was made.
    fn begin(&self) -> Pieces {
        let mut out = Pieces::default();
        if let Some(opening) = &self.opening {
            out.copy(opening);
        }
        out
    }

    /// A guess that costs little: by one page.
    fn comes_now(&self, offset: u64) -> bool {
        self.walk.file().comes_now(offset, 1)
    }

    fn next_fetches(&mut self) -> Fetches {
        self.fetches.take().unwrap_or_else(|| {
            let allowance = self.share.allowance();
            let first = self
                .ranges
                .iter()
                .find(|range| range.kind == RangeKind::Data);
            let cached = first.is_some_and(|first| self.comes_now(first.start));
            let step = if cached {
                allowance.cached_step()
            } else {
                allowance.step
            };
            Fetches::take(&mut self.ranges, step as u64)
        })
    }

    /// What was read, as frames.
    fn send(&mut self, out: &mut Pieces, fetched: &Fetched) -> Result<(), SnapshotError> {
        for part in fetched.parts() {
            match part {
                Part::Zero(span) => self.zero(out, span.start, span.length)?,
                Part::Data(offset, bytes) => self.data(out, offset, &bytes)?,
            }
        }
        Ok(())
    }

    /// Whether the data of the steps that follow are packed, as far as the format has that.
    pub fn pack(&mut self, on: bool) {
        if let Writer::Native(Some(encoder)) = &mut self.writer {
            encoder.pack(on);
        }
    }

    /// Bytes of the disk in all steps so far, without zeros. 0 after the last one, and where the
    /// format does not count.
    #[must_use]
    pub fn sent(&self) -> u64 {
        match &self.writer {
            Writer::Native(Some(encoder)) => encoder.totals().data,
            _ => 0,
        }
    }

    /// After an error: what the stream can still say of it. None where its format cannot, and the
    /// connection has to be broken off.
    pub fn give_up(&mut self, body: &ErrorBody) -> Option<Bytes> {
        self.ended = true;
        match &mut self.writer {
            Writer::Native(encoder) => {
                let error = encoder.take()?.error(body).ok()?;
                // The first step may be the one that failed.
                let opening = self.opening.take().unwrap_or_default();
                Some(Bytes::from([opening, error].concat()))
            }
            Writer::Rbd => None,
        }
    }

    /// Data as it was read; blocks of zeros in it travel as zeros.
    fn data(&mut self, out: &mut Pieces, offset: u64, bytes: &Bytes) -> Result<(), SnapshotError> {
        for run in runs(offset, bytes) {
            let start = offset + run.place.start as u64;
            if run.is_zero {
                self.zero(out, start, run.place.len() as u64)?;
                continue;
            }
            let bytes = bytes.slice(run.place);
            match &mut self.writer {
                Writer::Rbd => {
                    out.copy(&rbd::data(start, bytes.len() as u64));
                    out.share(&bytes);
                }
                Writer::Native(None) => {}
                Writer::Native(Some(encoder)) => {
                    debug_assert!(bytes.len() <= MAX_DATA, "a read is one frame at most");
                    let frame = encoder
                        .data(start, &bytes)
                        .map_err(|error| broken(&self.walk, error))?;
                    out.copy(&frame.head);
                    match frame.payload {
                        std::borrow::Cow::Borrowed(_) => out.share(&bytes),
                        std::borrow::Cow::Owned(packed) => out.share(&Bytes::from(packed)),
                    }
                }
            }
        }
        Ok(())
    }

    fn zero(&mut self, out: &mut Pieces, start: u64, length: u64) -> Result<(), SnapshotError> {
        match &mut self.writer {
            Writer::Rbd => out.copy(&rbd::zero(start, length)),
            Writer::Native(None) => {}
            Writer::Native(Some(encoder)) => {
                let head = encoder
                    .zero(start, length)
                    .map_err(|error| broken(&self.walk, error))?;
                out.copy(&head);
            }
        }
        Ok(())
    }

    fn reached(&mut self, out: &mut Pieces, offset: u64) -> Result<(), SnapshotError> {
        if let Writer::Native(Some(encoder)) = &mut self.writer {
            let head = encoder
                .reached(offset)
                .map_err(|error| broken(&self.walk, error))?;
            out.copy(&head);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Pieces) -> Result<(), SnapshotError> {
        self.ended = true;
        match &mut self.writer {
            Writer::Rbd => out.copy(&rbd::END),
            Writer::Native(encoder) => {
                if let Some(encoder) = encoder.take() {
                    let end = encoder
                        .end(self.walk.by_content())
                        .map_err(|error| broken(&self.walk, error))?;
                    out.copy(&end);
                }
            }
        }
        Ok(())
    }
}

/// What an encoder refuses is a mistake of ours: the client must not believe the stream.
fn broken(walk: &Walk, error: DeltaError) -> SnapshotError {
    SnapshotError::Io {
        what: "cannot write the delta of",
        path: walk.path().clone(),
        source: std::io::Error::other(error),
    }
}

/// Pieces of a body: large ones as they are, small ones together.
#[derive(Debug, Default)]
struct Pieces {
    done: Vec<Bytes>,
    small: BytesMut,
}

impl Pieces {
    fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: &Bytes) {
        if bytes.len() < BY_THEMSELVES {
            self.copy(bytes);
        } else {
            self.cut();
            self.done.push(bytes.clone());
        }
    }

    fn cut(&mut self) {
        if !self.small.is_empty() {
            self.done.push(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.done
    }
}
