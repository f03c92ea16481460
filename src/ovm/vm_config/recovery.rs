//! Finding the way on behind a statement that cannot be read.

use std::collections::BTreeSet;

use super::cursor::{Cursor, continues_name, starts_name};

/// A statement that was left out.
pub(super) struct LeftOut<'a> {
    /// Where reading goes on: the first character of a line, or the end.
    pub(super) next: Cursor<'a>,
    /// Every word in it, also in its strings, but not in comments: what it may have assigned.
    pub(super) words: BTreeSet<&'a str>,
}

/// Looks for the end of the logical line that begins at `start`.
///
/// Brackets and strings are counted, and a bracket or `"""` that is never closed would swallow the
/// rest of the file: then reading goes on at the next line that looks like an assignment.
pub(super) fn leave_out<'a>(start: Cursor<'a>) -> LeftOut<'a> {
    let (end, closed) = logical_line(start);
    let next = if closed { end } else { next_assignment(start) };
    LeftOut {
        words: words(start, &next),
        next,
    }
}

/// The begin of the next logical line, and whether all that was opened was closed.
fn logical_line(start: Cursor<'_>) -> (Cursor<'_>, bool) {
    let mut cursor = start;
    let mut depth = 0_usize;
    loop {
        match cursor.peek() {
            None => return (cursor, depth == 0),
            Some('\n') => {
                cursor.bump();
                if depth == 0 {
                    return (cursor, true);
                }
            }
            Some('\\') => {
                cursor.bump();
                cursor.bump();
            }
            Some('#') => cursor.skip_rest_of_line(),
            Some('\'' | '"') => {
                if !skip_string(&mut cursor) {
                    return (cursor, false);
                }
            }
            Some(other) => {
                cursor.bump();
                match other {
                    '[' | '(' | '{' => depth += 1,
                    ']' | ')' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }
}

/// Skips a string. One without an end on its line ends there; false for `"""` without an end.
fn skip_string(cursor: &mut Cursor<'_>) -> bool {
    let triple = ["'''", "\"\"\""]
        .into_iter()
        .find(|quotes| cursor.eat(quotes));
    let quote = if triple.is_some() {
        None
    } else {
        cursor.bump()
    };
    loop {
        if triple.is_some_and(|quotes| cursor.eat(quotes)) {
            return true;
        }
        match cursor.peek() {
            None => return triple.is_none(),
            Some('\n') if triple.is_none() => return true,
            Some('\\') => {
                cursor.bump();
                cursor.bump();
            }
            other => {
                cursor.bump();
                if other == quote {
                    return true;
                }
            }
        }
    }
}

/// The next line below `start` that begins with `name =`.
fn next_assignment(start: Cursor<'_>) -> Cursor<'_> {
    let mut cursor = start;
    loop {
        cursor.skip_rest_of_line();
        if cursor.bump().is_none() {
            return cursor;
        }
        let mut ahead = cursor;
        let name = ahead.take_name();
        ahead.skip_blank(false);
        if !name.is_empty() && ahead.eat("=") && !ahead.starts_with("=") {
            return cursor;
        }
    }
}

fn words<'a>(start: Cursor<'a>, end: &Cursor<'a>) -> BTreeSet<&'a str> {
    let mut cursor = start;
    let mut words = BTreeSet::new();
    let mut quote_on_this_line = false;
    while cursor.rest().len() > end.rest().len() {
        match cursor.peek() {
            Some(first) if starts_name(first) => {
                words.insert(cursor.take_name());
                continue;
            }
            Some(first) if continues_name(first) => {
                cursor.take_while(continues_name);
                continue;
            }
            // Behind a quote `#` may stand in a string. A word too many is harmless, one that is
            // missed is not.
            Some('#') if !quote_on_this_line => {
                cursor.skip_rest_of_line();
                continue;
            }
            // The letter of an escape is not the first of a word: `"\ndisk"`.
            Some('\\') => {
                cursor.bump();
            }
            Some('\'' | '"') => quote_on_this_line = true,
            Some('\n') => quote_on_this_line = false,
            _ => {}
        }
        cursor.bump();
    }
    words
}
