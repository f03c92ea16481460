use std::fmt::Display;

use jiff::Timestamp;
use serde_json::{Value, json};

/// One value: as people read it, and as programs do.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Maybe of several lines.
    pub text: String,
    pub value: Value,
}

impl Cell {
    /// Lines for people, anything for programs.
    pub fn new(lines: impl IntoIterator<Item = String>, value: Value) -> Cell {
        let lines: Vec<String> = lines.into_iter().collect();
        Cell {
            text: lines.join("\n"),
            value,
        }
    }

    /// Several texts, one a line, in every form: that is how the first generation's columns are.
    pub fn lines<T: Display>(lines: &[T]) -> Cell {
        let lines: Vec<String> = lines.iter().map(T::to_string).collect();
        Cell::from(lines.join("\n"))
    }

    /// A number of bytes.
    pub fn bytes(bytes: u64) -> Cell {
        Cell {
            text: crate::cli::size::text(bytes),
            value: json!(bytes),
        }
    }

    /// A moment: to the second for people, as the daemon says it for programs.
    pub fn time(time: Option<Timestamp>) -> Cell {
        time.map_or_else(Cell::nothing, |time| Cell {
            text: moment(time),
            value: json!(time),
        })
    }

    /// Something that is not known, or not there.
    pub fn nothing() -> Cell {
        Cell {
            text: String::new(),
            value: Value::Null,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            _ => false,
        }
    }

    /// For forms that know text only.
    pub fn plain(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// A moment for people.
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::from(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell {
            value: json!(text),
            text,
        }
    }
}

impl From<bool> for Cell {
    fn from(yes: bool) -> Cell {
        Cell {
            text: if yes { "yes" } else { "no" }.to_owned(),
            value: json!(yes),
        }
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell {
            text: format!("{number:.1}"),
            value: json!(number),
        }
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell {
            text: number.to_string(),
            value: json!(number),
        }
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        u64::from(number).into()
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Cell {
        (number as u64).into()
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or_else(Cell::nothing, Into::into)
    }
}
