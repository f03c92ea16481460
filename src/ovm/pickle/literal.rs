//! Values that stand in a pickle as text: numbers, and strings with escapes.

use super::{Value, text};

/// An `int` of protocol 0. `00` and `01` are how it writes the two `bool`s.
pub(super) fn int(line: &[u8]) -> Option<Value> {
    match line {
        b"00" => Some(Value::Bool(false)),
        b"01" => Some(Value::Bool(true)),
        line => decimal(line),
    }
}

/// A `long` of protocol 0, with or without the `L` behind it.
pub(super) fn long(line: &[u8]) -> Option<Value> {
    decimal(line.strip_suffix(b"L").unwrap_or(line))
}

/// A `float` of protocol 0.
pub(super) fn float(line: &[u8]) -> Option<Value> {
    std::str::from_utf8(line)
        .ok()?
        .parse()
        .ok()
        .map(Value::Float)
}

/// A `long` of protocol 2: two's complement, the lowest byte first, no byte at all for zero.
pub(super) fn binary_long(bytes: &[u8]) -> Option<Value> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; size_of::<i128>()];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(Value::Int(i128::from_le_bytes(wide)))
}

fn decimal(line: &[u8]) -> Option<Value> {
    std::str::from_utf8(line).ok()?.parse().ok().map(Value::Int)
}

/// A `str` of protocol 0, which is its `repr`: in quotes of either kind, with escapes.
pub(super) fn string(line: &[u8]) -> Option<Value> {
    let (quote, rest) = line
        .split_first()
        .filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
    let mut rest = rest.strip_suffix(&[*quote])?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'\\' {
            let (byte, len) = escape(rest)?;
            bytes.push(byte);
            rest = rest.get(len..)?;
        } else {
            bytes.push(*byte);
        }
    }
    Some(Value::Text(text(bytes)))
}

/// What stands behind a backslash: the byte that it means and its length.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let byte = match rest.first()? {
        byte @ (b'\\' | b'\'' | b'"') => *byte,
        b'a' => 0x07,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        b'x' => return Some((u8::try_from(hex(rest.get(1..3)?)?).ok()?, 3)),
        _ => return None,
    };
    Some((byte, 1))
}

/// A `unicode` of protocol 0: Latin-1, with `\uXXXX` and `\UXXXXXXXX` for the rest and for the
/// backslash itself. A Python built with 16-bit characters writes two surrogates for one
/// character, so the text is put together from UTF-16.
pub(super) fn unicode(mut rest: &[u8]) -> Option<Value> {
    let mut units = Vec::with_capacity(rest.len());
    while let Some((byte, behind)) = rest.split_first() {
        let (unit, digits) = match (byte, behind.first()) {
            (b'\\', Some(b'u')) => (hex(behind.get(1..5)?)?, 5),
            (b'\\', Some(b'U')) => (hex(behind.get(1..9)?)?, 9),
            _ => (u32::from(*byte), 0),
        };
        match u16::try_from(unit) {
            Ok(unit) => units.push(unit),
            Err(_) => units.extend_from_slice(char::from_u32(unit)?.encode_utf16(&mut [0; 2])),
        }
        rest = behind.get(digits..)?;
    }
    String::from_utf16(&units).ok().map(Value::Text)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        Some(number << 4 | char::from(*digit).to_digit(16)?)
    })
}
