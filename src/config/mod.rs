//! The configuration file: reading, checking, secrets.
//!
//! [`load`] gives a validated [`Config`] or all that is wrong with the file, each with line and
//! key. A key that nobody knows is a warning, since a file may be older or newer than the
//! daemon; [`check`](check::check) turns it into an error and looks at the named files as well.
//! `config.toml.example` shows every key with its default.

pub mod arguments;
pub mod check;
pub mod secret;
pub mod token_file;

mod certificates;
mod changes;
mod current;
mod document;
#[cfg(test)]
mod example;
mod keys;
mod problem;
mod section;
mod settings;
mod suggestion;
mod values;
mod weakening;

pub(crate) use certificates::dates as certificate_dates;
pub(crate) use certificates::outdated as outdated_certificate;
pub use changes::{Change, changes, in_force};
pub use current::Current;
pub use document::{Identity, Loaded, load, parse};
pub use problem::{ConfigError, Place, Problem, Severity};
pub use settings::{
    Api, Config, Jwt, Limits, LogFormat, LogLevel, Login, MinFree, SecretText, Snapshots, Tls,
    Toolstack,
};
pub use weakening::{Weakening, weakenings};
