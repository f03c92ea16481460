//! The statements of a vm.cfg, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::cursor::Cursor;
use super::literal::Literal;
use super::recovery::leave_out;
use super::value::read_assigned;
use super::{MAX_LEFT_OUT, MAX_SIZE, ParseError, SyntaxError};

/// What a name was set to, and where.
#[derive(Clone, PartialEq)]
pub struct Assigned {
    /// The value.
    pub value: Literal,
    /// The line of the name, counted from 1.
    pub line: usize,
}

/// All that a vm.cfg assigns, by name. The last assignment to a name wins.
///
/// Its `Debug` form shows names, not values: a vm.cfg may hold a VNC password.
#[derive(Clone, Default, PartialEq)]
pub struct Assignments {
    values: BTreeMap<String, Assigned>,
    doubtful: BTreeSet<String>,
    left_out: Vec<SyntaxError>,
    is_utf8: bool,
}

impl Assignments {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Literal> {
        self.values.get(name).map(|assigned| &assigned.value)
    }

    /// All names with their values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Assigned)> {
        self.values
            .iter()
            .map(|(name, assigned)| (name.as_str(), assigned))
    }

    /// How many names have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Does no name have a value?
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Is this name's value in doubt, because a statement that was left out speaks of it and no
    /// later one assigned it?
    pub fn is_doubtful(&self, name: &str) -> bool {
        self.doubtful.contains(name)
    }

    /// The statements that were left out.
    pub fn left_out(&self) -> &[SyntaxError] {
        &self.left_out
    }

    /// Was the file UTF-8? Otherwise it was read as Latin-1.
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// What is wrong with the file, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let encoding =
            (!self.is_utf8).then(|| "vm.cfg is not UTF-8 and was read as Latin-1".to_owned());
        let left_out = |error: &SyntaxError| format!("vm.cfg {error}; this statement was left out");
        encoding
            .into_iter()
            .chain(self.left_out.iter().map(left_out))
            .collect()
    }

    fn assign(&mut self, name: &str, assigned: Assigned) {
        self.doubtful.remove(name);
        self.values.insert(name.to_owned(), assigned);
    }
}

impl fmt::Debug for Assignments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Assignments")
            .field("names", &self.values.keys().collect::<Vec<_>>())
            .field("doubtful", &self.doubtful)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

/// Reads the text of a vm.cfg.
///
/// Never panics, never evaluates, and takes time and memory in proportion to the size.
///
/// # Errors
/// Only when the whole text is no vm.cfg: too large, or too many statements cannot be read.
pub fn parse(bytes: &[u8]) -> Result<Assignments, ParseError> {
    if bytes.len() > MAX_SIZE {
        return Err(ParseError::TooLarge {
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        });
    }
    let (text, is_utf8) = decode(bytes);
    let mut assignments = Assignments {
        is_utf8,
        ..Assignments::default()
    };
    let mut cursor = Cursor::new(&text);
    while cursor.peek().is_some() {
        let start = cursor;
        if let Err(error) = read_line(&mut cursor, &mut assignments) {
            if let Some(first) = assignments.left_out.first()
                && assignments.left_out.len() >= MAX_LEFT_OUT
            {
                return Err(ParseError::TooManyErrors {
                    line: start.line(),
                    first: *first,
                });
            }
            let left_out = leave_out(error.from);
            assignments
                .doubtful
                .extend(left_out.words.into_iter().map(str::to_owned));
            assignments.left_out.push(error.error);
            cursor = left_out.next;
        }
    }
    Ok(assignments)
}

/// The text with `\n` as its only line break, without a byte order mark; and whether it was UTF-8.
fn decode(bytes: &[u8]) -> (String, bool) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (text, is_utf8) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), true),
        Err(_) => (bytes.iter().copied().map(char::from).collect(), false),
    };
    if text.contains('\r') {
        (text.replace("\r\n", "\n").replace('\r', "\n"), is_utf8)
    } else {
        (text, is_utf8)
    }
}

/// A statement that cannot be read, and where it began.
struct Unreadable<'a> {
    error: SyntaxError,
    from: Cursor<'a>,
}

/// Reads a logical line: nothing, or statements with `;` between them.
fn read_line<'a>(
    cursor: &mut Cursor<'a>,
    assignments: &mut Assignments,
) -> Result<(), Unreadable<'a>> {
    let line_start = *cursor;
    cursor.skip_blank(false);
    let indented = cursor.rest().len() < line_start.rest().len();
    if ends_line(cursor) {
        return Ok(());
    }
    loop {
        let from = *cursor;
        let unreadable = |error| Unreadable { error, from };
        if indented {
            // Python allows this in a block only, and whether the block would run is not known.
            return Err(unreadable(
                from.error("this statement is indented, as in a block"),
            ));
        }
        let (name, value) = read_statement(cursor).map_err(unreadable)?;
        assignments.assign(
            name,
            Assigned {
                value,
                line: from.line(),
            },
        );
        // A `;` may end the line, too.
        cursor.eat(";");
        cursor.skip_blank(false);
        if ends_line(cursor) {
            return Ok(());
        }
    }
}

/// Reads a comment and the end of the line, if nothing else is left of it.
fn ends_line(cursor: &mut Cursor<'_>) -> bool {
    if cursor.starts_with("#") {
        cursor.skip_rest_of_line();
    }
    matches!(cursor.peek(), None | Some('\n')) && {
        cursor.bump();
        true
    }
}

fn read_statement<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Literal), SyntaxError> {
    let start = *cursor;
    let name = cursor.take_name();
    cursor.skip_blank(false);
    if name.is_empty() || cursor.starts_with("==") || !cursor.eat("=") {
        return Err(start.error("this is not `NAME = value`"));
    }
    cursor.skip_blank(false);
    let value = read_assigned(cursor)?;
    cursor.skip_blank(false);
    match cursor.peek() {
        None | Some('\n' | ';' | '#') => Ok((name, value)),
        Some(_) => Err(cursor.error("this does not belong behind a value")),
    }
}

#[cfg(test)]
#[path = "assignments_tests.rs"]
mod tests;
