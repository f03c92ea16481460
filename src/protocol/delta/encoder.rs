use std::borrow::Cow;

use super::compression::{Packer, Packing};
use super::frame::{FRAME_HEAD, Head, Kind, MAX_DATA, MAX_ERROR, Totals, link};
use super::{Compression, DeltaError, StreamHeader};
use crate::protocol::ErrorBody;

/// A frame on its way out: its head, then its payload.
#[derive(Debug)]
pub struct Frame<'b> {
    /// Goes first.
    pub head: [u8; FRAME_HEAD],
    /// The bytes that were given, or what they were packed to.
    pub payload: Cow<'b, [u8]>,
}

/// Writes a stream, frame by frame. Whoever uses it gives frames in the disk's order, inside the
/// disk, and without a base without gaps; what comes otherwise is refused.
#[derive(Debug)]
pub struct Encoder {
    packer: Packer,
    packs: bool,
    /// Of what it may mention.
    end: u64,
    /// It has to mention every byte.
    tiles: bool,
    reached: u64,
    totals: Totals,
    chain: u32,
}

impl Encoder {
    /// A stream that packs its data, and the bytes that it begins with.
    ///
    /// # Errors
    /// [`DeltaError::Malformed`] where the header is longer than a decoder takes.
    pub fn new(
        header: &StreamHeader,
        compression: Compression,
    ) -> Result<(Encoder, Vec<u8>), DeltaError> {
        let bytes = header.encode()?;
        let (_, checksum) = StreamHeader::decode(&bytes)?;
        let encoder = Encoder {
            packer: Packer::new(compression)?,
            packs: true,
            end: header.end(),
            tiles: header.base.is_none(),
            reached: header.from,
            totals: Totals::default(),
            chain: link(0, checksum),
        };
        Ok((encoder, bytes))
    }

    /// Whether the data that follow are packed. They are, until this is called.
    pub fn pack(&mut self, on: bool) {
        self.packs = on;
    }

    /// Whether it tries to make data smaller, which takes time.
    #[must_use]
    pub fn packs(&self) -> bool {
        self.packs && !matches!(self.packer, Packer::None)
    }

    /// What it has written so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes of the disk: 1 to [`MAX_DATA`].
    ///
    /// # Errors
    /// [`DeltaError::Malformed`] for too many, none, or not in order.
    pub fn data<'b>(&mut self, offset: u64, bytes: &'b [u8]) -> Result<Frame<'b>, DeltaError> {
        if bytes.is_empty() || bytes.len() > MAX_DATA {
            return Err(DeltaError::Malformed(format!(
                "{} bytes do not fit a data frame",
                bytes.len()
            )));
        }
        let length = bytes.len() as u64;
        self.advance(offset, length)?;
        let (packing, payload) = if self.packs {
            self.packer.pack(bytes)
        } else {
            (Packing::None, Cow::Borrowed(bytes))
        };
        let head = self.head(Kind::Data, packing, offset, length, &payload)?;
        self.totals.data += length;
        Ok(Frame { head, payload })
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`Encoder::data`].
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<[u8; FRAME_HEAD], DeltaError> {
        if length == 0 {
            return Err(DeltaError::Malformed("no zeros at all".to_owned()));
        }
        self.advance(offset, length)?;
        self.totals.zeros += length;
        self.head(Kind::Zero, Packing::None, offset, length, &[])
    }

    /// Nothing more comes before `offset`: tells a client that the stream lives, and from where to
    /// ask again should it break.
    ///
    /// # Errors
    /// As [`Encoder::data`].
    pub fn reached(&mut self, offset: u64) -> Result<[u8; FRAME_HEAD], DeltaError> {
        self.advance(offset, 0)?;
        self.head(Kind::Reached, Packing::None, offset, 0, &[])
    }

    /// The last frame. `by_content`: bytes of the disk that were compared by content.
    ///
    /// # Errors
    /// [`DeltaError::Malformed`] where a stream without a base does not reach its end.
    pub fn end(mut self, by_content: u64) -> Result<Vec<u8>, DeltaError> {
        if self.tiles && self.reached != self.end {
            return Err(DeltaError::Malformed(format!(
                "all of a disk ends at {}, not at {}",
                self.end, self.reached
            )));
        }
        self.totals.by_content = by_content;
        let payload = self.totals.encode(self.chain);
        let head = self.head(Kind::End, Packing::None, 0, 0, &payload)?;
        Ok([&head[..], &payload[..]].concat())
    }

    /// The last frame of a stream that fails.
    ///
    /// # Errors
    /// None that can be met.
    pub fn error(mut self, body: &ErrorBody) -> Result<Vec<u8>, DeltaError> {
        let mut payload = to_json(body)?;
        if payload.len() > MAX_ERROR {
            let short = ErrorBody {
                details: "the reason is too long for this frame; see the daemon's log".to_owned(),
                ..body.clone()
            };
            payload = to_json(&short)?;
        }
        let head = self.head(Kind::Error, Packing::None, 0, 0, &payload)?;
        Ok([&head[..], &payload[..]].concat())
    }

    fn advance(&mut self, offset: u64, length: u64) -> Result<(), DeltaError> {
        let end = offset.checked_add(length).filter(|end| *end <= self.end);
        let in_order = if self.tiles {
            offset == self.reached
        } else {
            offset >= self.reached
        };
        match end {
            Some(end) if in_order => {
                self.reached = end;
                Ok(())
            }
            _ => Err(DeltaError::Malformed(format!(
                "{length} bytes at {offset} after {}, in a stream that ends at {}",
                self.reached, self.end
            ))),
        }
    }

    fn head(
        &mut self,
        kind: Kind,
        packing: Packing,
        offset: u64,
        length: u64,
        payload: &[u8],
    ) -> Result<[u8; FRAME_HEAD], DeltaError> {
        let stored = u32::try_from(payload.len())
            .map_err(|_| DeltaError::Malformed("a payload is too long".to_owned()))?;
        let head = Head {
            kind,
            packing,
            sequence: sequence(self.totals.frames),
            stored,
            offset,
            length,
        };
        let (bytes, checksum) = head.encode(payload);
        self.chain = link(self.chain, checksum);
        self.totals.frames += 1;
        Ok(bytes)
    }
}

/// The number of a frame, as far as its head has room for it.
pub(super) fn sequence(frames: u64) -> u32 {
    u32::try_from(frames & u64::from(u32::MAX)).unwrap_or(0)
}

fn to_json(body: &ErrorBody) -> Result<Vec<u8>, DeltaError> {
    serde_json::to_vec(body).map_err(|error| DeltaError::Malformed(error.to_string()))
}
