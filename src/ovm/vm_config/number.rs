//! Numbers as Python 2 and 3 write them.

use super::SyntaxError;
use super::cursor::Cursor;
use super::literal::Literal;

/// Reads the number that stands here, its sign included.
///
/// Python 2's `1L` and `0777` are read as Python 2 does. Complex numbers are not literals here.
pub(super) fn read_number(
    cursor: &mut Cursor<'_>,
    in_brackets: bool,
) -> Result<Literal, SyntaxError> {
    let start = *cursor;
    let negative = cursor.eat("-");
    if negative || cursor.eat("+") {
        cursor.skip_blank(in_brackets);
    }
    let word = take_word(cursor);
    let number = if let Some((radix, digits)) = with_radix(&word) {
        whole(digits, radix, negative)
    } else if word.contains(['.', 'e', 'E']) {
        fraction(&word, negative)
    } else {
        whole(word.trim_end_matches(['l', 'L']), 10, negative)
            .filter(|_| word.len() - word.trim_end_matches(['l', 'L']).len() <= 1)
    };
    number.ok_or_else(|| start.error("this is not a number that can be read"))
}

/// The characters that belong to the number; the sign of an exponent is one of them.
fn take_word(cursor: &mut Cursor<'_>) -> String {
    let mut word = String::new();
    loop {
        word.push_str(cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let exponent = word.ends_with(['e', 'E'])
            && !word.starts_with("0x")
            && !word.starts_with("0X")
            && !word.contains(['+', '-']);
        match cursor.peek() {
            Some(sign @ ('+' | '-')) if exponent => {
                cursor.bump();
                word.push(sign);
            }
            _ => return word,
        }
    }
}

/// Splits `0x1F`, `0o17`, `0b1` and Python 2's `017` into radix and digits.
fn with_radix(word: &str) -> Option<(u32, &str)> {
    let digits = word.strip_prefix('0')?;
    let digits = digits.strip_suffix(['l', 'L']).unwrap_or(digits);
    match digits.chars().next()? {
        'x' | 'X' => Some((16, digits.get(1..)?)),
        'o' | 'O' => Some((8, digits.get(1..)?)),
        'b' | 'B' => Some((2, digits.get(1..)?)),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some((8, digits)),
        _ => None,
    }
}

fn whole(digits: &str, radix: u32, negative: bool) -> Option<Literal> {
    // A sign here would be a second one.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    Some(Literal::Int(if negative { -number } else { number }))
}

fn fraction(word: &str, negative: bool) -> Option<Literal> {
    // Rust would also read `inf` and `nan`, which are names in Python.
    if !word.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let number: f64 = word.parse().ok()?;
    Some(Literal::Float(if negative { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Literal> {
        let mut cursor = Cursor::new(text);
        let number = read_number(&mut cursor, false).ok()?;
        cursor.rest().is_empty().then_some(number)
    }

    #[test]
    fn whole_numbers() {
        for (text, number) in [
            ("0", 0),
            ("00", 0),
            ("42", 42),
            ("-42", -42),
            ("- 42", -42),
            ("+7", 7),
            ("1L", 1),
            ("1l", 1),
            ("0L", 0),
            ("-1L", -1),
            ("0x1F", 31),
            ("0XfL", 15),
            ("0xe", 14),
            ("0o777", 511),
            ("0777", 511),
            ("0777L", 511),
            ("0b101", 5),
            ("170141183460469231731687303715884105727", i128::MAX),
        ] {
            assert_eq!(read(text), Some(Literal::Int(number)), "{text}");
        }
    }

    #[test]
    fn fractions() {
        for (text, number) in [
            ("1.5", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("-2.5e-3", -0.0025),
            ("1E+2", 100.0),
            ("1e5", 100_000.0),
            ("08.5", 8.5),
            ("1.e2", 100.0),
        ] {
            assert_eq!(read(text), Some(Literal::Float(number)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number() {
        for text in [
            "",
            "-",
            "--1",
            ".",
            "1LL",
            "08",
            "0x",
            "0xg",
            "0o8",
            "0b2",
            "1j",
            "1_000",
            "1e",
            "1e+",
            "1.2.3",
            "1.5L",
            "12ab",
            "-inf",
            "e5",
            "170141183460469231731687303715884105728",
            "1e5-3",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
