//! What goes to `write_data`, byte by byte. No I/O.
//!
//! A message is, little-endian, `u32` number, `u32` length of what follows the head, `u32` length of
//! that once it is unpacked (0: it is not packed); then, packed by zlib or not, the device's path, a
//! zero byte, `u64` offset, and the bytes. Each is acknowledged by its number. A message of length 0,
//! which has no third field, is the last one.

use std::io;

use super::super::packing::zlib;

/// What follows a head is at most so long: `write_data` takes no more.
const LARGEST: usize = 100 << 20;

/// Bytes for a place of the device, as they follow a head; and what they are unpacked, if they are
/// packed, else 0.
pub(super) struct Payload {
    bytes: Vec<u8>,
    unpacked: u32,
}

impl Payload {
    /// # Errors
    /// For more than the other side takes.
    pub(super) fn of(device: &str, offset: u64, bytes: &[u8], packs: bool) -> io::Result<Payload> {
        let length = device.len() + 1 + 8 + bytes.len();
        let size = u32::try_from(length).ok().filter(|_| length <= LARGEST);
        let size = size.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{length} bytes are too many for one message: at most {LARGEST}"),
            )
        })?;
        let mut plain = Vec::with_capacity(length);
        plain.extend_from_slice(device.as_bytes());
        plain.push(0);
        plain.extend_from_slice(&offset.to_le_bytes());
        plain.extend_from_slice(bytes);
        Ok(match if packs { zlib(&plain)? } else { None } {
            Some(packed) => Payload {
                bytes: packed,
                unpacked: size,
            },
            None => Payload {
                bytes: plain,
                unpacked: 0,
            },
        })
    }

    /// The message of this number.
    pub(super) fn message(self, number: u32) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(12 + self.bytes.len());
        message.extend_from_slice(&number.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&self.unpacked.to_le_bytes());
        message.extend_from_slice(&self.bytes);
        Ok(message)
    }
}

/// The last message.
pub(super) fn end(number: u32) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.extend_from_slice(&[0; 4]);
    message
}

/// What `write_data` means by the code that it exits with.
pub(super) fn meaning(code: i32) -> &'static str {
    match code {
        2 | 4 | 12 | 13 => "a message was damaged, or is larger than it takes",
        3 => "it cannot open the device: see that it is attached",
        6..=8 => "it cannot write to the device",
        9 => "it has not got the memory",
        15 => "a write goes past the end of the device: the volume is too small",
        126 | 127 => "it is not there, or may not be run",
        255 => "the way to it is broken, if it is ssh that says so",
        _ => "see what it has said itself",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_other_side_reads_it() {
        let message = Payload::of("/dev/vdb", 0x0102, b"abc", false)
            .and_then(|payload| payload.message(7))
            .unwrap();
        assert_eq!(
            message,
            b"\x07\0\0\0\x14\0\0\0\0\0\0\0/dev/vdb\0\x02\x01\0\0\0\0\0\0abc"
        );
        assert_eq!(end(0x0a0b), b"\x0b\x0a\0\0\0\0\0\0");
    }

    #[test]
    fn what_gains_is_packed_with_path_and_offset() {
        let zeros = [0; 5000];
        let message = Payload::of("/dev/vdb", 1, &zeros, true)
            .and_then(|payload| payload.message(0))
            .unwrap();
        assert!(message.len() < 200);
        assert_eq!(
            message[4..8],
            u32::try_from(message.len() - 12).unwrap().to_le_bytes()
        );
        assert_eq!(message[8..12], 5017_u32.to_le_bytes());
        let mut plain = Vec::new();
        ZlibDecoder::new(&message[12..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain.len(), 5017);
        assert!(plain.starts_with(b"/dev/vdb\0\x01\0\0\0\0\0\0\0\0"));
        // What does not gain is not.
        let message = Payload::of("/d", 1, b"x", true)
            .and_then(|payload| payload.message(0))
            .unwrap();
        assert_eq!(message[8..12], [0; 4]);
    }

    #[test]
    fn no_message_is_larger_than_the_other_side_takes() {
        let most = vec![0; LARGEST - 11];
        assert!(Payload::of("/d", 0, &most, false).is_ok());
        let error = Payload::of("/de", 0, &most, false).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
