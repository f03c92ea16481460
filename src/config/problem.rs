//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A position in the configuration file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; an offset past the end is the end.
    pub(super) fn of_offset(text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        // A byte that continues a UTF-8 character is no column of its own.
        let column = before
            .iter()
            .skip(line_start)
            .filter(|byte| **byte & 0xc0 != 0x80)
            .count()
            + 1;
        Self { line, column }
    }
}

/// Whether the daemon can work nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but an admin should look.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong. It is shown as `file:line:column: key: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the daemon can work nevertheless.
    pub severity: Severity,
    /// The configuration file.
    pub file: PathBuf,
    /// Where in the file; absent for a key that is missing.
    pub place: Option<Place>,
    /// The key with its sections: `api.tls.key`; absent where the file is no TOML.
    pub key: Option<String>,
    /// What was found, what is accepted, what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file.display())?;
        if let Some(place) = self.place {
            write!(formatter, "{}:{}:", place.line, place.column)?;
        }
        if let Some(key) = &self.key {
            write!(formatter, " {key}:")?;
        }
        write!(formatter, " {}", self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}{hint}", file = file.display(), hint = permission_hint(source))]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file can be read, but not understood; all that is wrong, in the order of the file.
    #[error("{}", joined(problems))]
    Invalid {
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// What to do about a refused permission, to follow the reason.
pub(super) fn permission_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        " (run as root)"
    } else {
        ""
    }
}

/// Says that a file named in the configuration cannot be read, and why.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot read {}: {error}{}",
        path.display(),
        permission_hint(error)
    )
}

fn joined(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nµµx\n\nz".as_bytes();
        let table = [
            (0, 1, 1),
            (1, 1, 2),
            (2, 2, 1),
            (4, 2, 2),
            (6, 2, 3),
            (8, 3, 1),
            (9, 4, 1),
            (10, 4, 2),
            (99, 4, 2),
        ];
        for (offset, line, column) in table {
            assert_eq!(
                Place::of_offset(text, offset),
                Place { line, column },
                "{offset}"
            );
        }
    }

    #[test]
    fn a_refused_permission_says_what_to_do() {
        let error = ConfigError::Unreadable {
            file: PathBuf::from("/etc/x.toml"),
            source: io::Error::from_raw_os_error(13),
        };
        assert_eq!(
            error.to_string(),
            "cannot read the configuration /etc/x.toml: Permission denied (os error 13) (run as root)"
        );
    }
}
