//! String literals: quotes, prefixes, escapes, and neighbours that are joined.
//!
//! vm.cfg is read by a Python 2 agent, and the rules here are Python 2's: a plain string is bytes,
//! so the `'\xc3\xa9'` that its `repr` writes is one `é`, and `\u` means something in `u'…'` only.

use super::SyntaxError;
use super::cursor::Cursor;
use super::literal::Literal;

/// What stands before the quote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    unicode: bool,
    bytes: bool,
    raw: bool,
}

impl Prefix {
    /// Reads a prefix, upper or lower case; `None` if these letters are not one.
    pub(super) fn from_letters(letters: &str) -> Option<Self> {
        let (unicode, bytes, raw) = match letters.to_ascii_lowercase().as_str() {
            "" => (false, false, false),
            "u" => (true, false, false),
            "b" => (false, true, false),
            "r" => (false, false, true),
            "ur" => (true, false, true),
            "br" | "rb" => (false, true, true),
            _ => return None,
        };
        Some(Self {
            unicode,
            bytes,
            raw,
        })
    }
}

/// Joins neighbouring string literals: `'a' 'b'` is `'ab'`.
#[derive(Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    unicode: bool,
    /// A piece without the prefix `b` is among them.
    plain: bool,
}

impl Joined {
    /// Reads one string literal, from its quote on.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        prefix: Prefix,
    ) -> Result<(), SyntaxError> {
        let mut body = Body {
            out: &mut self.bytes,
            prefix,
            high_surrogate: None,
        };
        body.read(cursor)?;
        self.unicode |= prefix.unicode;
        self.plain |= !prefix.bytes;
        Ok(())
    }

    /// The value of all pieces together; `at` is where they began.
    pub(super) fn finish(self, at: &Cursor<'_>) -> Result<Literal, SyntaxError> {
        if !self.plain {
            return Ok(Literal::Bytes(self.bytes));
        }
        match String::from_utf8(self.bytes) {
            Ok(text) => Ok(Literal::Text(text)),
            Err(_) if self.unicode => {
                Err(at.error("a u'…' string is joined with bytes that are not UTF-8"))
            }
            Err(error) => Ok(Literal::Bytes(error.into_bytes())),
        }
    }
}

struct Body<'a> {
    out: &'a mut Vec<u8>,
    prefix: Prefix,
    /// The first half of a pair such as `\ud83d\ude00`, which a narrow Python 2 writes.
    high_surrogate: Option<u32>,
}

impl Body<'_> {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        let start = *cursor;
        let Some(quote @ ('\'' | '"')) = cursor.bump() else {
            return Err(start.error("a string was expected here"));
        };
        let single: String = quote.into();
        let triple = cursor.eat(&single.repeat(2));
        let end = if triple { single.repeat(3) } else { single };
        loop {
            if cursor.eat(&end) {
                return self.no_half_pair(&start);
            }
            match cursor.peek() {
                None => return Err(start.error("this string has no end")),
                Some('\n') if !triple => {
                    return Err(start.error("this string has no end on its line"));
                }
                Some('\\') => self.escape(cursor)?,
                Some(character) => {
                    self.no_half_pair(cursor)?;
                    self.push(character);
                    cursor.bump();
                }
            }
        }
    }

    fn push(&mut self, character: char) {
        let mut buffer = [0; 4];
        self.out
            .extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }

    fn escape(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        let start = *cursor;
        cursor.bump();
        let Some(letter) = cursor.bump() else {
            return Err(start.error("the text ends inside an escape"));
        };
        match letter {
            'u' if self.prefix.unicode => return self.code_point(cursor, &start, 4),
            'U' if self.prefix.unicode => return self.code_point(cursor, &start, 8),
            _ => self.no_half_pair(&start)?,
        }
        if self.prefix.raw {
            self.push('\\');
            self.push(letter);
            return Ok(());
        }
        match letter {
            '\n' => {}
            '\\' | '\'' | '"' => self.push(letter),
            'a' => self.push('\x07'),
            'b' => self.push('\x08'),
            'f' => self.push('\x0c'),
            'n' => self.push('\n'),
            'r' => self.push('\r'),
            't' => self.push('\t'),
            'v' => self.push('\x0b'),
            'x' => {
                let value = hex(cursor, 2)
                    .ok_or_else(|| start.error("\\x needs two hexadecimal digits"))?;
                self.byte_or_code_point(value, &start)?;
            }
            'N' if self.prefix.unicode => return Err(start.error("\\N{…} names are not supported")),
            '0'..='7' => {
                let value = octal(letter, cursor);
                self.byte_or_code_point(value, &start)?;
            }
            // Python keeps the backslash of an escape that it does not know.
            other => {
                self.push('\\');
                self.push(other);
            }
        }
        Ok(())
    }

    /// `\x` and octal escapes: a byte in a plain string, a character in `u'…'`.
    fn byte_or_code_point(&mut self, value: u32, at: &Cursor<'_>) -> Result<(), SyntaxError> {
        if self.prefix.unicode {
            self.push(char::from_u32(value).ok_or_else(|| at.error(NO_CHARACTER))?);
        } else {
            // Python takes the low eight bits of an octal escape above \377.
            self.out
                .push(u8::try_from(value & 0xff).unwrap_or_default());
        }
        Ok(())
    }

    fn code_point(
        &mut self,
        cursor: &mut Cursor<'_>,
        at: &Cursor<'_>,
        digits: usize,
    ) -> Result<(), SyntaxError> {
        let value = hex(cursor, digits)
            .ok_or_else(|| at.error("\\u needs four hexadecimal digits, \\U eight"))?;
        match (self.high_surrogate.take(), value) {
            (None, 0xd800..=0xdbff) => self.high_surrogate = Some(value),
            (Some(high), 0xdc00..=0xdfff) => {
                let combined = 0x1_0000 + ((high - 0xd800) << 10) + (value - 0xdc00);
                self.push(char::from_u32(combined).ok_or_else(|| at.error(NO_CHARACTER))?);
            }
            (Some(_), _) => return Err(at.error(NO_CHARACTER)),
            (None, _) => self.push(char::from_u32(value).ok_or_else(|| at.error(NO_CHARACTER))?),
        }
        Ok(())
    }

    fn no_half_pair(&self, at: &Cursor<'_>) -> Result<(), SyntaxError> {
        match self.high_surrogate {
            None => Ok(()),
            Some(_) => Err(at.error(NO_CHARACTER)),
        }
    }
}

const NO_CHARACTER: &str = "this escape is no character";

/// Exactly `count` hexadecimal digits.
fn hex(cursor: &mut Cursor<'_>, count: usize) -> Option<u32> {
    (0..count).try_fold(0, |value, _| {
        let digit = cursor.peek()?.to_digit(16)?;
        cursor.bump();
        Some(value * 16 + digit)
    })
}

/// One to three octal digits, the first of which is read already.
fn octal(first: char, cursor: &mut Cursor<'_>) -> u32 {
    let mut value = first.to_digit(8).unwrap_or_default();
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|c| c.to_digit(8)) else {
            break;
        };
        cursor.bump();
        value = value * 8 + digit;
    }
    value
}

#[cfg(test)]
#[path = "string_tests.rs"]
mod tests;
