//! vm.cfg: how a virtual machine is configured on an Oracle VM node.
//!
//! The file is Python, and the node's agent reads it with `exec`. Here nothing is ever evaluated:
//! [`parse`] reads the statements that have the form `NAME = literal` and says of every other one
//! where it stands. One statement that cannot be read never hides another. What was assigned is
//! then interpreted by [`VmConfig`].
//!
//! A statement that is left out may still have changed a name (`disk.append(…)`, `if …: disk = …`,
//! a list whose bracket is missing). Every word in it is therefore remembered as doubtful, until
//! a later assignment settles it: see [`Assignments::is_doubtful`]. A disk that nobody saw would
//! be a disk that nobody copies.

mod assignments;
mod cursor;
mod disk;
mod file;
mod literal;
mod nic;
mod number;
mod recovery;
mod string;
mod value;
mod vm;

pub use assignments::{Assigned, Assignments, parse};
pub use disk::{DiskEntry, DiskMode, DiskProblem, DiskScheme};
pub use file::read_bounded;
pub use literal::Literal;
pub use nic::Nic;
pub use vm::VmConfig;

use std::path::PathBuf;

/// The largest vm.cfg that is read, in bytes. Real ones have about two thousand.
pub const MAX_SIZE: usize = 1 << 20;

/// How deep brackets may be nested. Real files have three levels.
pub const MAX_DEPTH: usize = 32;

/// How many statements may be left out before the file is given up: then it is no vm.cfg.
pub const MAX_LEFT_OUT: usize = 100;

/// Why one statement could not be read. It never quotes the file, which may hold a VNC password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Why a text was not read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is larger than [`MAX_SIZE`].
    #[error(
        "it has {size} bytes, more than the {MAX_SIZE} that a vm.cfg may have; check that it is one"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// More than [`MAX_LEFT_OUT`] statements cannot be read.
    #[error(
        "more than {MAX_LEFT_OUT} statements up to line {line} cannot be read, the first at {first}; check that it is a vm.cfg"
    )]
    TooManyErrors {
        /// The line of the last one.
        line: usize,
        /// The first one.
        first: SyntaxError,
    },
}

/// Why a vm.cfg on disk was not read.
#[derive(Debug, thiserror::Error)]
pub enum VmConfigError {
    /// Opening or reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is a directory, a pipe, a device.
    #[error("cannot read {}: it is not a regular file; move it out of the way", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// It changed each time it was read.
    #[error("cannot read {}: it keeps changing while it is read; try again", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// Its content is no vm.cfg.
    #[error("cannot read {}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
}
