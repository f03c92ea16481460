use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DeltaError;

/// A stream begins with these bytes.
pub const MAGIC: [u8; 8] = *b"OVMDELTA";
/// What this code writes and reads.
pub const VERSION: u16 = 1;
/// Bytes of a header's JSON, at most.
pub const MAX_HEADER: usize = 64 << 10;

/// Magic, version, two bytes of zeros, length of the JSON.
pub(super) const FIXED: usize = 16;
/// The checksum behind the JSON.
pub(super) const CHECKSUM: usize = 4;

/// What a stream is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// The snapshot whose bytes these are.
    pub snapshot: Uuid,
    /// Name of the disk.
    pub disk: String,
    /// Its size, bytes: a replica ends with this one, whatever it had.
    pub size: u64,
    /// What the stream is relative to. None: data and zeros tile all between `from` and the end,
    /// and make it out of any bytes.
    pub base: Option<Uuid>,
    /// Where it begins; nothing before this offset is mentioned.
    #[serde(default)]
    pub from: u64,
    /// Where it ends, if before the disk's end: nothing behind this offset is mentioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// `extents` or `content`, as far as that was known when the stream began.
    #[serde(default)]
    pub method: String,
    /// Why by content, or why everything.
    #[serde(default)]
    pub reason: Option<String>,
}

impl StreamHeader {
    /// Where what it mentions ends, bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.to.unwrap_or(self.size)
    }

    /// The bytes that a stream begins with.
    pub(super) fn encode(&self) -> Result<Vec<u8>, DeltaError> {
        let json =
            serde_json::to_vec(self).map_err(|error| DeltaError::Malformed(error.to_string()))?;
        let length = u32::try_from(json.len())
            .ok()
            .filter(|_| json.len() <= MAX_HEADER)
            .ok_or_else(|| DeltaError::Malformed("a header is too long".to_owned()))?;
        let mut bytes = Vec::with_capacity(FIXED + json.len() + CHECKSUM);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&json);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// The length of the JSON, from a stream's first bytes.
    pub(super) fn json_length(fixed: &[u8; FIXED]) -> Result<usize, DeltaError> {
        let [magic @ .., _, _, _, _, _, _, _, _] = fixed;
        let [_, _, _, _, _, _, _, _, v0, v1, r0, r1, length @ ..] = fixed;
        if *magic != MAGIC {
            return Err(DeltaError::Malformed(
                "it does not begin like a delta stream".to_owned(),
            ));
        }
        let version = u16::from_le_bytes([*v0, *v1]);
        if version != VERSION {
            return Err(DeltaError::Version { found: version });
        }
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if [*r0, *r1] != [0; 2] || length > MAX_HEADER {
            return Err(DeltaError::Malformed(
                "its header is not well formed".to_owned(),
            ));
        }
        Ok(length)
    }

    /// Reads a whole header, checksum included.
    pub(super) fn decode(bytes: &[u8]) -> Result<(StreamHeader, u32), DeltaError> {
        let damaged = || DeltaError::Malformed("its header is damaged".to_owned());
        let (head, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
        let checksum = u32::from_le_bytes(*checksum);
        let json = head.get(FIXED..).ok_or_else(damaged)?;
        if crc32c::crc32c(head) != checksum {
            return Err(damaged());
        }
        let header: StreamHeader = serde_json::from_slice(json)
            .map_err(|error| DeltaError::Malformed(format!("its header: {error}")))?;
        // No file is larger, and sums of what is inside the disk cannot overflow.
        let (from, to) = (header.from, header.end());
        if i64::try_from(header.size).is_err() || from > to || to > header.size {
            return Err(DeltaError::Malformed(format!(
                "a disk of {} bytes from {from} to {to}",
                header.size
            )));
        }
        Ok((header, checksum))
    }
}
