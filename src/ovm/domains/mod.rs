//! Which domains run on this node, as its toolstack says.
//!
//! Every node of a pool sees every vm.cfg; which node runs a machine is known only from `xm list`
//! or `xl list` there. The answer is never an error for the whole node: what is not known is
//! [`DomainState::Unknown`], with the reason in [`Domains::doubt`].

mod command;
mod table;
mod toolstack;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use command::first_line;
pub use table::parse_table;
pub use toolstack::{ToolChoice, Toolstack};

/// What a domain does at this moment, on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainState {
    /// It is scheduled: running, blocked on I/O, or waiting for a processor.
    Running,
    /// It keeps its memory and is not scheduled.
    Paused,
    /// It has shut down and is still listed.
    Shutdown,
    /// It has crashed and is still listed.
    Crashed,
    /// It is being torn down.
    Dying,
    /// It is not on this node.
    Off,
    /// It cannot be told: the toolstack does not answer, or the domain is on its way to another
    /// node or from there.
    Unknown,
}

/// The domains of this node, by the name that vm.cfg calls `name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    states: HashMap<String, DomainState>,
    doubt: Option<String>,
}

impl Domains {
    /// Nothing is known, for this reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            states: HashMap::new(),
            doubt: Some(reason.into()),
        }
    }

    /// The state of a domain.
    pub fn state(&self, name: &str) -> DomainState {
        match (self.states.get(name), &self.doubt) {
            (Some(state), _) => *state,
            (None, Some(_)) => DomainState::Unknown,
            (None, None) => DomainState::Off,
        }
    }

    /// Why a domain that is not listed is unknown rather than off.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The domains that are listed. Domain-0 is not among them.
    pub fn listed(&self) -> &HashMap<String, DomainState> {
        &self.states
    }
}

/// Why the toolstack gave no list.
#[derive(Debug, thiserror::Error)]
pub enum DomainsError {
    /// Neither program exists.
    #[error("neither xm nor xl is installed on this node; if one is, name it in the configuration")]
    NoTool,
    /// The program cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Talking to the running program failed.
    #[error("cannot read what {} list says: {source}", program.display())]
    Read {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It took too long and was killed.
    #[error("{} list did not answer within {limit:?} and was stopped; check the toolstack's service", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time that it had.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("{} list failed ({status}): {message}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The first line of what it wrote to standard error.
        message: String,
    },
    /// It wrote without end and was killed.
    #[error("{} list wrote more than {limit} bytes and was stopped", program.display())]
    TooMuch {
        /// The program.
        program: PathBuf,
        /// The bytes that it may write.
        limit: usize,
    },
    /// What it wrote is no list.
    #[error("{} list wrote no table of domains; check that it is xm or xl", program.display())]
    NoTable {
        /// The program.
        program: PathBuf,
    },
    /// Every program that is there failed.
    #[error("{first}; {second}")]
    Both {
        /// The first one's error.
        first: Box<DomainsError>,
        /// The second one's error.
        second: Box<DomainsError>,
    },
}
