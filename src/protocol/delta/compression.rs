use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::DeltaError;

/// zstd's level: the fastest of the ordinary ones. A link that needs more is slower than the disk.
const ZSTD_LEVEL: i32 = 1;

/// What a client asks for: how the data of a stream are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Zstandard (RFC 8878), where that makes a frame smaller.
    Zstd,
    /// LZ4, where that makes a frame smaller. Takes less of the processor, and gains less.
    Lz4,
    /// The daemon chooses while it sends: Zstandard as long as the link is what takes the time,
    /// nothing where packing would.
    Auto,
}

impl Compression {
    /// Every one of them.
    pub const ALL: [Compression; 4] = [
        Compression::None,
        Compression::Zstd,
        Compression::Lz4,
        Compression::Auto,
    ];

    /// Its value in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Auto => "auto",
        }
    }

    /// What that value means.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Compression> {
        Compression::ALL
            .into_iter()
            .find(|one| one.as_str() == name)
    }
}

/// How the payload of one data frame is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    None,
    /// One Zstandard frame, without a dictionary.
    Zstd,
    /// One LZ4 block (not the LZ4 frame format).
    Lz4,
}

impl Packing {
    pub(super) fn code(self) -> u8 {
        match self {
            Packing::None => 0,
            Packing::Zstd => 1,
            Packing::Lz4 => 2,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Packing> {
        match code {
            0 => Some(Packing::None),
            1 => Some(Packing::Zstd),
            2 => Some(Packing::Lz4),
            _ => None,
        }
    }
}

/// Packs payloads; what zstd needs for that is kept from one to the next.
pub(super) enum Packer {
    None,
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Lz4,
}

impl Packer {
    pub(super) fn new(compression: Compression) -> Result<Packer, DeltaError> {
        Ok(match compression {
            Compression::None => Packer::None,
            Compression::Lz4 => Packer::Lz4,
            Compression::Zstd | Compression::Auto => Packer::Zstd(Box::new(
                zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(DeltaError::compressor)?,
            )),
        })
    }

    /// The bytes packed, where that makes them fewer; else as they are.
    pub(super) fn pack<'b>(&mut self, bytes: &'b [u8]) -> (Packing, Cow<'b, [u8]>) {
        let packed = match self {
            Packer::None => None,
            Packer::Zstd(compressor) => {
                // It has to stay below what it was: no more room than that.
                let mut packed = Vec::with_capacity(bytes.len());
                compressor
                    .compress_to_buffer(bytes, &mut packed)
                    .ok()
                    .map(|_| (Packing::Zstd, packed))
            }
            Packer::Lz4 => Some((Packing::Lz4, lz4_flex::block::compress(bytes))),
        };
        match packed {
            Some((packing, packed)) if packed.len() < bytes.len() => (packing, Cow::Owned(packed)),
            _ => (Packing::None, Cow::Borrowed(bytes)),
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packer::None => "None",
            Packer::Zstd(_) => "Zstd",
            Packer::Lz4 => "Lz4",
        })
    }
}

/// Unpacks payloads, into as many bytes as their frame says and never more.
#[derive(Default)]
pub(super) struct Unpacker {
    zstd: Option<Box<zstd::bulk::Decompressor<'static>>>,
}

impl Unpacker {
    /// `length` has been checked against [`MAX_DATA`](super::MAX_DATA).
    pub(super) fn unpack(
        &mut self,
        packing: Packing,
        stored: &[u8],
        length: usize,
    ) -> Result<Vec<u8>, DeltaError> {
        let mut bytes = vec![0; length];
        let written = match packing {
            Packing::None => return Err(DeltaError::Malformed("nothing to unpack".into())),
            Packing::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(Box::new(
                        zstd::bulk::Decompressor::new().map_err(DeltaError::compressor)?,
                    )),
                };
                zstd.decompress_to_buffer(stored, bytes.as_mut_slice())
                    .map_err(|error| {
                        DeltaError::Malformed(format!("a payload is no Zstandard data: {error}"))
                    })?
            }
            Packing::Lz4 => {
                lz4_flex::block::decompress_into(stored, &mut bytes).map_err(|error| {
                    DeltaError::Malformed(format!("a payload is no LZ4 block: {error}"))
                })?
            }
        };
        if written != length {
            return Err(DeltaError::Malformed(format!(
                "a payload unpacks to {written} bytes, not to {length}"
            )));
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}
