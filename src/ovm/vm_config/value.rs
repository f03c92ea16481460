//! A whole literal, lists in lists included.

use super::cursor::{Cursor, starts_name};
use super::literal::Literal;
use super::number::read_number;
use super::string::{Joined, Prefix};
use super::{MAX_DEPTH, SyntaxError};

/// Reads what stands behind `=`: a literal, or several with commas and no brackets, a tuple.
pub(super) fn read_assigned(cursor: &mut Cursor<'_>) -> Result<Literal, SyntaxError> {
    let first = read_literal(cursor, 0)?;
    cursor.skip_blank(false);
    if !cursor.starts_with(",") {
        return Ok(first);
    }
    let mut items = vec![first];
    while cursor.eat(",") {
        cursor.skip_blank(false);
        if matches!(cursor.peek(), None | Some('\n' | ';' | '#')) {
            break;
        }
        items.push(read_literal(cursor, 0)?);
        cursor.skip_blank(false);
    }
    Ok(Literal::Tuple(items))
}

/// Reads one literal that stands inside `depth` brackets. The recursion ends at [`MAX_DEPTH`].
fn read_literal(cursor: &mut Cursor<'_>, depth: usize) -> Result<Literal, SyntaxError> {
    if depth > MAX_DEPTH {
        return Err(cursor.error("brackets are nested too deep"));
    }
    match cursor.peek() {
        Some('[') => Ok(Literal::List(read_items(cursor, depth, "]")?.0)),
        Some('(') => {
            let (mut items, comma) = read_items(cursor, depth, ")")?;
            // Brackets around one value without a comma only group it.
            match (items.len(), comma) {
                (1, false) => Ok(items.remove(0)),
                _ => Ok(Literal::Tuple(items)),
            }
        }
        Some('{') => read_dict(cursor, depth),
        Some('\'' | '"') => read_strings(cursor, depth > 0),
        Some('0'..='9' | '.' | '-' | '+') => read_number(cursor, depth > 0),
        Some(first) if starts_name(first) => read_word(cursor, depth > 0),
        None | Some('\n') => Err(cursor.error("a value is missing here")),
        Some(_) => Err(cursor.error("this is not a value")),
    }
}

/// Reads `open item, item close`; also says whether a comma stood there.
fn read_items(
    cursor: &mut Cursor<'_>,
    depth: usize,
    close: &str,
) -> Result<(Vec<Literal>, bool), SyntaxError> {
    let open = *cursor;
    cursor.bump();
    let mut items = Vec::new();
    let mut comma = false;
    loop {
        cursor.skip_blank(true);
        if cursor.eat(close) {
            return Ok((items, comma));
        }
        if cursor.peek().is_none() {
            return Err(unfinished(cursor, &open));
        }
        items.push(read_literal(cursor, depth + 1)?);
        cursor.skip_blank(true);
        if cursor.eat(",") {
            comma = true;
        } else if !cursor.starts_with(close) {
            return Err(unfinished(cursor, &open));
        }
    }
}

fn read_dict(cursor: &mut Cursor<'_>, depth: usize) -> Result<Literal, SyntaxError> {
    let open = *cursor;
    cursor.bump();
    let mut pairs = Vec::new();
    loop {
        cursor.skip_blank(true);
        if cursor.eat("}") {
            return Ok(Literal::Dict(pairs));
        }
        if cursor.peek().is_none() {
            return Err(unfinished(cursor, &open));
        }
        let at = *cursor;
        let key = read_literal(cursor, depth + 1)?;
        if !key.is_hashable() {
            return Err(at.error("a list or a dictionary cannot be a key"));
        }
        cursor.skip_blank(true);
        if !cursor.eat(":") {
            return Err(cursor.error("`:` is missing behind the key"));
        }
        cursor.skip_blank(true);
        pairs.push((key, read_literal(cursor, depth + 1)?));
        cursor.skip_blank(true);
        if !cursor.eat(",") && !cursor.starts_with("}") {
            return Err(unfinished(cursor, &open));
        }
    }
}

/// At the end of the text the bracket that was never closed says more than the end does.
fn unfinished(here: &Cursor<'_>, open: &Cursor<'_>) -> SyntaxError {
    match here.peek() {
        None => open.error("this bracket is never closed"),
        Some(_) => here.error("a comma or a closing bracket is missing here"),
    }
}

/// Reads `True`, `False`, `None`, or a string with a prefix.
fn read_word(cursor: &mut Cursor<'_>, in_brackets: bool) -> Result<Literal, SyntaxError> {
    let start = *cursor;
    match cursor.take_name() {
        "True" => Ok(Literal::Bool(true)),
        "False" => Ok(Literal::Bool(false)),
        "None" => Ok(Literal::None),
        _ if matches!(cursor.peek(), Some('\'' | '"')) => {
            *cursor = start;
            read_strings(cursor, in_brackets)
        }
        _ => Err(start.error("a name or a call is not a literal, and nothing is evaluated")),
    }
}

/// Reads a string literal and the ones right behind it.
fn read_strings(cursor: &mut Cursor<'_>, in_brackets: bool) -> Result<Literal, SyntaxError> {
    let start = *cursor;
    let mut joined = Joined::default();
    loop {
        let piece = *cursor;
        let letters = cursor.take_name();
        let prefix = Prefix::from_letters(letters)
            .ok_or_else(|| piece.error("this string prefix is unknown"))?;
        joined.read(cursor, prefix)?;
        cursor.skip_blank(in_brackets);
        let mut ahead = *cursor;
        ahead.take_name();
        if !matches!(ahead.peek(), Some('\'' | '"')) {
            return joined.finish(&start);
        }
    }
}
