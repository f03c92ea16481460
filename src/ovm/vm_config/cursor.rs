//! A place in the text of a vm.cfg: what stands there, and its line and column.

use super::SyntaxError;

/// Walks over a text, one character at a time, and never past its end.
///
/// It is cheap to copy: a copy is a mark to come back to.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    /// The line, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// An error at this place.
    pub(super) fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError {
            line: self.line,
            column: self.column,
            reason,
        }
    }

    /// What is still to be read.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn starts_with(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    /// Reads one character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(character)
    }

    /// Reads `text` if it stands here.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let here = self.starts_with(text);
        if here {
            for _ in text.chars() {
                self.bump();
            }
        }
        here
    }

    /// Reads as long as `wanted` says so.
    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let from = self.offset;
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
        self.text.get(from..self.offset).unwrap_or_default()
    }

    /// Reads the name that stands here; empty if none does.
    pub(super) fn take_name(&mut self) -> &'a str {
        if self.peek().is_some_and(starts_name) {
            self.take_while(continues_name)
        } else {
            ""
        }
    }

    /// Reads up to the end of the line, the line break excluded.
    pub(super) fn skip_rest_of_line(&mut self) {
        self.take_while(|character| character != '\n');
    }

    /// Reads white space and continuation lines; inside brackets also line breaks and comments.
    pub(super) fn skip_blank(&mut self, inside_brackets: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\x0c') => {
                    self.bump();
                }
                Some('\\') if self.starts_with("\\\n") => {
                    self.eat("\\\n");
                }
                Some('\n') if inside_brackets => {
                    self.bump();
                }
                Some('#') if inside_brackets => self.skip_rest_of_line(),
                _ => return,
            }
        }
    }
}

/// May this character begin a name? Python 2 knows ASCII names only.
pub(super) fn starts_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

/// May this character stand in a name after its first?
pub(super) fn continues_name(character: char) -> bool {
    starts_name(character) || character.is_ascii_digit()
}
