//! Numbers and names out of bytes that may end anywhere.

pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array(bytes, at)?))
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array(bytes, at)?))
}

pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array(bytes, at)?))
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(array(bytes, at)?))
}

pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(array(bytes, at)?))
}

pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(super) fn has(bytes: &[u8], at: usize, expected: &[u8]) -> bool {
    bytes
        .get(at..)
        .is_some_and(|rest| rest.starts_with(expected))
}

/// A name of fixed length, ended by a zero or by spaces; none where it is empty.
pub(super) fn label(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    let field = field.split(|byte| *byte == 0).next()?;
    visible(&String::from_utf8_lossy(field))
}

/// The same in UTF-16, little endian.
pub(super) fn wide_label(field: &[u8]) -> Option<String> {
    let units: Vec<u16> = field
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    visible(&String::from_utf16_lossy(&units))
}

/// What others wrote is shown on terminals.
fn visible(text: &str) -> Option<String> {
    let text: String = text
        .trim_end_matches(' ')
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// A UUID as it stands there, byte by byte; none for zeros.
pub(super) fn uuid(bytes: &[u8], at: usize) -> Option<String> {
    let uuid = uuid::Uuid::from_bytes(array(bytes, at)?);
    (!uuid.is_nil()).then(|| uuid.to_string())
}

/// A GUID as Microsoft writes them: its first three parts are little endian.
pub(super) fn guid(bytes: &[u8], at: usize) -> Option<uuid::Uuid> {
    Some(uuid::Uuid::from_bytes_le(array(bytes, at)?))
}
