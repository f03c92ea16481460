//! Frames, byte by byte.

use super::DeltaError;
use super::compression::Packing;

/// Bytes before a frame's payload.
pub const FRAME_HEAD: usize = 32;
/// Bytes of the disk in a data frame, at most.
pub const MAX_DATA: usize = 1 << 20;
/// Bytes of an error frame's JSON, at most.
pub const MAX_ERROR: usize = 64 << 10;
/// Bytes of an end frame's payload.
pub(super) const END_PAYLOAD: usize = 40;

/// Where the checksum is; it covers all before it and the payload.
const CHECKSUM_AT: usize = 28;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Zero,
    End,
    Error,
    Reached,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Data => 1,
            Kind::Zero => 2,
            Kind::End => 3,
            Kind::Error => 4,
            Kind::Reached => 5,
        }
    }

    fn of_code(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Data),
            2 => Some(Kind::Zero),
            3 => Some(Kind::End),
            4 => Some(Kind::Error),
            5 => Some(Kind::Reached),
            _ => None,
        }
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    pub packing: Packing,
    /// Frames before this one, modulo 2^32.
    pub sequence: u32,
    /// Bytes of the payload.
    pub stored: u32,
    /// Where on the disk.
    pub offset: u64,
    /// Bytes of the disk.
    pub length: u64,
}

impl Head {
    /// The bytes before a payload, and the checksum that they end with.
    pub(super) fn encode(&self, payload: &[u8]) -> ([u8; FRAME_HEAD], u32) {
        let mut bytes = [0; FRAME_HEAD];
        bytes[0] = self.kind.code();
        bytes[1] = self.packing.code();
        bytes[4..8].copy_from_slice(&self.stored.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.sequence.to_le_bytes());
        let checksum = checksum(&bytes, payload);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Reads a frame's head: whether it is possible at all, not whether it fits the stream.
    pub(super) fn decode(bytes: &[u8; FRAME_HEAD]) -> Result<Head, DeltaError> {
        let [kind, packing, r0, r1, rest @ ..] = bytes;
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&rest[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let (Some(kind), Some(packing), [0, 0]) =
            (Kind::of_code(*kind), Packing::of_code(*packing), [*r0, *r1])
        else {
            return Err(DeltaError::Malformed(format!(
                "a frame of unknown kind {kind}/{packing}"
            )));
        };
        let [s0, s1, s2, s3, ..] = *rest;
        let stored = u32::from_le_bytes([s0, s1, s2, s3]);
        let [q0, q1, q2, q3] = [rest[20], rest[21], rest[22], rest[23]];
        let head = Head {
            kind,
            packing,
            sequence: u32::from_le_bytes([q0, q1, q2, q3]),
            stored,
            offset: number(4),
            length: number(12),
        };
        if head.is_possible() {
            Ok(head)
        } else {
            Err(DeltaError::Malformed(format!(
                "an impossible frame: {head:?}"
            )))
        }
    }

    fn is_possible(&self) -> bool {
        let stored = self.payload();
        let plain = self.packing == Packing::None;
        match self.kind {
            Kind::Data => {
                let Ok(length) = usize::try_from(self.length) else {
                    return false;
                };
                let fits = if plain {
                    stored == length
                } else {
                    stored < length
                };
                stored > 0 && length <= MAX_DATA && fits
            }
            Kind::Zero => plain && stored == 0 && self.length > 0,
            Kind::Reached => plain && stored == 0 && self.length == 0,
            Kind::End => plain && stored == END_PAYLOAD && self.offset == 0 && self.length == 0,
            Kind::Error => plain && stored <= MAX_ERROR && self.offset == 0 && self.length == 0,
        }
    }

    /// Bytes of the payload.
    pub(super) fn payload(&self) -> usize {
        usize::try_from(self.stored).unwrap_or(usize::MAX)
    }
}

/// The checksum that a frame's head should have.
pub(super) fn checksum(head: &[u8; FRAME_HEAD], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKSUM_AT]), payload)
}

/// The checksum that a frame's head has.
pub(super) fn stated_checksum(head: &[u8; FRAME_HEAD]) -> u32 {
    let [.., c0, c1, c2, c3] = *head;
    u32::from_le_bytes([c0, c1, c2, c3])
}

/// What a stream came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames before the end frame.
    pub frames: u64,
    /// Bytes of the disk in data frames.
    pub data: u64,
    /// Bytes of the disk in zero frames.
    pub zeros: u64,
    /// Bytes of the disk that were compared by content because their maps moved or could not be
    /// compared.
    pub by_content: u64,
}

impl Totals {
    pub(super) fn encode(&self, chain: u32) -> [u8; END_PAYLOAD] {
        let mut bytes = [0; END_PAYLOAD];
        let numbers = [self.frames, self.data, self.zeros, self.by_content];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..36].copy_from_slice(&chain.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; END_PAYLOAD]) -> (Totals, u32, [u8; 4]) {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let [.., c0, c1, c2, c3, r0, r1, r2, r3] = *bytes;
        let totals = Totals {
            frames: number(0),
            data: number(8),
            zeros: number(16),
            by_content: number(24),
        };
        (
            totals,
            u32::from_le_bytes([c0, c1, c2, c3]),
            [r0, r1, r2, r3],
        )
    }
}

/// Adds a checksum to the chain.
pub(super) fn link(chain: u32, checksum: u32) -> u32 {
    crc32c::crc32c_append(chain, &checksum.to_le_bytes())
}
