//! Ceph's `rbd diff v1`: <https://docs.ceph.com/en/latest/dev/rbd-diff/>. What `rbd merge-diff` and
//! `rbd import-diff` take. Without checksums: for those who have the tools already.

/// What a stream begins with.
#[must_use]
pub fn begin(from: Option<&str>, to: &str, size: u64) -> Vec<u8> {
    let mut bytes = b"rbd diff v1\n".to_vec();
    if let Some(from) = from {
        name(&mut bytes, b'f', from);
    }
    name(&mut bytes, b't', to);
    bytes.push(b's');
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes
}

fn name(bytes: &mut Vec<u8>, tag: u8, name: &str) {
    bytes.push(tag);
    // Names are ids of snapshots: 36 bytes.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

/// What stands before `length` bytes of data.
#[must_use]
pub fn data(offset: u64, length: u64) -> [u8; 17] {
    record(b'w', offset, length)
}

/// Zeros.
#[must_use]
pub fn zero(offset: u64, length: u64) -> [u8; 17] {
    record(b'z', offset, length)
}

fn record(tag: u8, offset: u64, length: u64) -> [u8; 17] {
    let mut bytes = [tag; 17];
    bytes[1..9].copy_from_slice(&offset.to_le_bytes());
    bytes[9..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The last record.
pub const END: [u8; 1] = *b"e";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        assert_eq!(
            begin(Some("old"), "new", 0x0102),
            b"rbd diff v1\nf\x03\0\0\0oldt\x03\0\0\0news\x02\x01\0\0\0\0\0\0"
        );
        assert_eq!(
            begin(None, "n", 1),
            b"rbd diff v1\nt\x01\0\0\0ns\x01\0\0\0\0\0\0\0"
        );
        assert_eq!(&data(3, 4), b"w\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
        assert_eq!(&zero(3, 4), b"z\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
    }
}
