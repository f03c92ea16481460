//! Decodes the Python 2 pickles in the agent's databases: protocols 0 to 2, plain data only.
//!
//! A pickle is a program for a stack machine that can name any class and call it. This decoder
//! knows only the opcodes that make plain data; all others are refused, so nothing can be called.
//!
//! # Bounds
//!
//! A pickle may refer to an earlier value, and so a few hundred bytes can stand for gigabytes:
//! thirty lists, each of them the one before twice, are a billion values. Here only a single
//! value (no list, tuple or dictionary) may be referred to again, and only up to
//! [`MAX_EXPANSION`] bytes in all. The agent's records are flat and meet that. Size and nesting
//! are limited too, by [`MAX_INPUT`] and [`MAX_DEPTH`].
//!
//! Source of the format: the comments of `pickletools.py` in Python 2.7.

mod decoder;
mod literal;

use thiserror::Error;

/// Largest pickle in bytes.
pub const MAX_INPUT: usize = 1 << 20;
/// Deepest nesting of lists, tuples and dictionaries.
pub const MAX_DEPTH: usize = 32;
/// Most bytes that references to earlier values may add.
pub const MAX_EXPANSION: usize = 4 << 20;

/// Why a pickle was not decoded. No message repeats what the pickle holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PickleError {
    /// Larger than [`MAX_INPUT`].
    #[error("the pickle has {0} bytes, more than the {MAX_INPUT} that are read")]
    TooLarge(usize),
    /// Cut short, or its parts do not fit together.
    #[error("the pickle is malformed at byte {at}: {what}")]
    Malformed {
        /// Offset of the opcode in bytes.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// An opcode that makes more than plain data, or belongs to a later protocol.
    #[error("the pickle holds more than plain data: opcode 0x{opcode:02x} at byte {at}")]
    Refused {
        /// Offset of the opcode in bytes.
        at: usize,
        /// The opcode.
        opcode: u8,
    },
    /// Nested deeper, or expanding to more, than the bounds.
    #[error("the pickle goes beyond a bound at byte {at}: {what}")]
    Bound {
        /// Offset of the opcode in bytes.
        at: usize,
        /// Which bound.
        what: &'static str,
    },
}

/// A decoded value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// `int` and `long`, up to 128 bits.
    Int(i128),
    /// `float`
    Float(f64),
    /// `unicode`, and `str` as [`text`] reads it.
    Text(String),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `list`
    List(Vec<Value>),
    /// `dict`, in the order of the pickle.
    Dict(Vec<(Value, Value)>),
}

impl Value {
    /// Decodes one pickle.
    ///
    /// # Errors
    /// When the pickle is malformed, holds anything but plain data, or goes beyond a bound.
    pub fn decode(pickle: &[u8]) -> Result<Self, PickleError> {
        decoder::decode(pickle)
    }

    /// The entry of a dictionary whose key is the text `name`. Of several the last one, as in
    /// Python.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else {
            return None;
        };
        let named = |key: &Self| matches!(key, Self::Text(key) if key == name);
        entries
            .iter()
            .rev()
            .find(|(key, _)| named(key))
            .map(|(_, value)| value)
    }

    /// A single value as text: text itself, numbers in decimal, `true` and `false`. `None`, lists,
    /// tuples and dictionaries have no text.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::None | Self::Tuple(_) | Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// Whether it holds other values.
    #[must_use]
    pub fn is_container(&self) -> bool {
        matches!(self, Self::Tuple(_) | Self::List(_) | Self::Dict(_))
    }

    /// Its type as Python names it, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
        }
    }
}

/// A Python 2 `str` is bytes without an encoding: read as UTF-8 when it is, else as Latin-1, where
/// every byte is a character. Nothing is lost either way.
#[must_use]
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests;
