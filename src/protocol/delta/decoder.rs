use bytes::{Bytes, BytesMut};

use super::compression::{Packing, Unpacker};
use super::encoder::sequence;
use super::frame::{END_PAYLOAD, FRAME_HEAD, Head, Kind, Totals, checksum, link, stated_checksum};
use super::header::{CHECKSUM, FIXED};
use super::{DeltaError, StreamHeader};
use crate::protocol::ErrorBody;

/// What a decoder has found. All of it is checked: what arrives here may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Comes first.
    Header(StreamHeader),
    /// Bytes to write.
    Data {
        /// Where on the disk.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Zeros to write, or a hole to punch.
    Zero {
        /// Where on the disk.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Nothing more comes before this offset.
    Reached(u64),
    /// Comes last: the delta is complete.
    End(Totals),
}

/// Reads a stream from pieces of any size. Holds at most one frame.
///
/// ```
/// use coriolis_ovm_exporter::protocol::delta::{Decoder, DeltaError, Item};
///
/// # fn example(pieces: Vec<Vec<u8>>, disk: &mut [u8]) -> Result<(), DeltaError> {
/// let mut decoder = Decoder::new();
/// for piece in pieces {
///     let mut input = piece.as_slice();
///     while let Some(item) = decoder.next(&mut input)? {
///         match item {
///             Item::Data { offset, bytes } => { /* write */ }
///             Item::Zero { offset, length } => { /* punch or write zeros */ }
///             Item::Header(_) | Item::Reached(_) | Item::End(_) => {}
///         }
///     }
/// }
/// let totals = decoder.finish()?; // without this, the delta may have been cut off
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Decoder {
    stage: Stage,
    /// What has come of the part that is waited for.
    held: BytesMut,
    unpacker: Unpacker,
    /// Nothing of the disk behind this may come.
    end: u64,
    /// Every byte has to be mentioned: there is no base.
    tiles: bool,
    reached: u64,
    totals: Totals,
    chain: u32,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The fixed part of the stream header.
    Opening,
    /// All of the stream header, so many bytes.
    Header(usize),
    Head,
    Payload(Head, [u8; FRAME_HEAD]),
    Ended(Totals),
    Failed,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// For a stream from its first byte on.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder {
            stage: Stage::Opening,
            held: BytesMut::new(),
            unpacker: Unpacker::default(),
            end: 0,
            tiles: false,
            reached: 0,
            totals: Totals::default(),
            chain: 0,
        }
    }

    /// Takes bytes from the front of `input` until they make up an item; None when all are taken
    /// and more are needed.
    ///
    /// # Errors
    /// [`DeltaError::GivenUp`] with the daemon's reason, [`DeltaError::Malformed`] for everything
    /// that is not exactly as specified. The decoder is of no use afterwards.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, DeltaError> {
        let in_frames = matches!(
            self.stage,
            Stage::Head | Stage::Payload(..) | Stage::Ended(_)
        );
        let frames = self.totals.frames;
        self.advance(input).map_err(|error| {
            self.stage = Stage::Failed;
            self.held = BytesMut::new();
            match error {
                DeltaError::Malformed(what) if in_frames => malformed(format!(
                    "frame {frames}, after offset {}: {what}",
                    self.reached
                )),
                error => error,
            }
        })
    }

    /// At the end of the stream: whether it was complete.
    ///
    /// # Errors
    /// [`DeltaError::CutOff`].
    pub fn finish(&self) -> Result<Totals, DeltaError> {
        match self.stage {
            Stage::Ended(totals) => Ok(totals),
            Stage::Failed => Err(DeltaError::Failed),
            _ => Err(DeltaError::CutOff),
        }
    }

    /// How far the stream has come: everything of the disk before this offset is known. Where to
    /// ask again from after a break.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Item>, DeltaError> {
        loop {
            let needed = match self.stage {
                Stage::Opening => FIXED,
                Stage::Header(length) => length,
                Stage::Head => FRAME_HEAD,
                Stage::Payload(head, _) => head.payload(),
                Stage::Ended(_) if input.is_empty() => return Ok(None),
                Stage::Ended(_) => return Err(malformed("bytes follow the end frame")),
                Stage::Failed => return Err(DeltaError::Failed),
            };
            if !self.hold(input, needed) {
                return Ok(None);
            }
            if let Some(item) = self.take()? {
                return Ok(Some(item));
            }
        }
    }

    /// Moves bytes from the input until `needed` are held. They are never more than a frame: all
    /// lengths have been checked.
    fn hold(&mut self, input: &mut &[u8], needed: usize) -> bool {
        let missing = needed.saturating_sub(self.held.len());
        let count = missing.min(input.len());
        if count > 0 {
            self.held.reserve(missing);
        }
        let (taken, rest) = input.split_at(count);
        self.held.extend_from_slice(taken);
        *input = rest;
        self.held.len() >= needed
    }

    /// What is held is all that was waited for.
    fn take(&mut self) -> Result<Option<Item>, DeltaError> {
        match self.stage {
            Stage::Opening => {
                let fixed = self.held.first_chunk().ok_or(DeltaError::CutOff)?;
                let length = FIXED + StreamHeader::json_length(fixed)? + CHECKSUM;
                self.stage = Stage::Header(length);
                Ok(None)
            }
            Stage::Header(_) => {
                let (header, checksum) = StreamHeader::decode(&self.held)?;
                self.held.clear();
                self.stage = Stage::Head;
                self.end = header.end();
                self.tiles = header.base.is_none();
                self.reached = header.from;
                self.chain = link(0, checksum);
                Ok(Some(Item::Header(header)))
            }
            Stage::Head => {
                let bytes: [u8; FRAME_HEAD] = *self.held.first_chunk().ok_or(DeltaError::CutOff)?;
                self.held.clear();
                let head = Head::decode(&bytes)?;
                self.fits(&head)?;
                self.stage = Stage::Payload(head, bytes);
                Ok(None)
            }
            Stage::Payload(head, bytes) => {
                let payload = self.held.split().freeze();
                let found = checksum(&bytes, &payload);
                if found != stated_checksum(&bytes) {
                    return Err(malformed("its checksum is not that of its bytes"));
                }
                self.stage = Stage::Head;
                let item = self.item(&head, payload)?;
                self.chain = link(self.chain, found);
                self.totals.frames += 1;
                Ok(Some(item))
            }
            Stage::Ended(_) | Stage::Failed => Ok(None),
        }
    }

    /// Whether a frame may come now, before its payload is waited for.
    fn fits(&self, head: &Head) -> Result<(), DeltaError> {
        if head.sequence != sequence(self.totals.frames) {
            return Err(malformed(format!(
                "frame {} comes where frame {} should",
                head.sequence, self.totals.frames
            )));
        }
        if matches!(head.kind, Kind::End | Kind::Error) {
            return Ok(());
        }
        let end = head.offset.checked_add(head.length);
        let gap = self.tiles && head.offset != self.reached;
        if gap || head.offset < self.reached || end.is_none_or(|end| end > self.end) {
            return Err(malformed(format!(
                "{} bytes at {} come after {}, in a stream that ends at {}",
                head.length, head.offset, self.reached, self.end
            )));
        }
        Ok(())
    }

    fn item(&mut self, head: &Head, payload: Bytes) -> Result<Item, DeltaError> {
        let Head { offset, length, .. } = *head;
        match head.kind {
            Kind::Data => {
                let bytes = match head.packing {
                    Packing::None => payload,
                    packed => {
                        let length = usize::try_from(length).unwrap_or(0);
                        self.unpacker.unpack(packed, &payload, length)?.into()
                    }
                };
                self.totals.data += length;
                self.reached = offset + length;
                Ok(Item::Data { offset, bytes })
            }
            Kind::Zero => {
                self.totals.zeros += length;
                self.reached = offset + length;
                Ok(Item::Zero { offset, length })
            }
            Kind::Reached => {
                self.reached = offset;
                Ok(Item::Reached(offset))
            }
            Kind::End => self.end(&payload),
            Kind::Error => {
                let body: ErrorBody = serde_json::from_slice(&payload)
                    .map_err(|error| malformed(format!("an error frame: {error}")))?;
                Err(DeltaError::GivenUp(body))
            }
        }
    }

    fn end(&mut self, payload: &[u8]) -> Result<Item, DeltaError> {
        let payload: &[u8; END_PAYLOAD] = payload
            .try_into()
            .map_err(|_| malformed("a short end frame"))?;
        let (said, chain, reserved) = Totals::decode(payload);
        let seen = Totals {
            by_content: said.by_content,
            ..self.totals
        };
        if self.tiles && self.reached != self.end {
            return Err(malformed(format!(
                "all of a disk up to {} ends at {}",
                self.end, self.reached
            )));
        }
        if said != seen || chain != self.chain || reserved != [0; 4] {
            return Err(malformed(format!(
                "its end says {said:?}, and what came was {seen:?}"
            )));
        }
        self.reached = self.end;
        self.stage = Stage::Ended(said);
        Ok(Item::End(said))
    }
}

fn malformed(what: impl Into<String>) -> DeltaError {
    DeltaError::Malformed(what.into())
}
