//! What the two sides of a scenario about sick or powerless storage say to each other: a line of
//! JSON each. A line that a loss of power has cut short is none.

use std::fmt;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::orders::MARK;

/// SHA-256 of each disk of a machine, in the order of its disks.
pub type Sums = Vec<String>;

/// What the machine says. It waits for an answer where the host has to know before it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Waits for a command.
    Next,
    /// Is about to take a snapshot of these disks. Waits.
    Taking { vm: String, sums: Sums },
    /// Has taken it.
    Ready { vm: String, id: Uuid, sums: Sums },
    /// Is about to delete these. Waits.
    Deleting { vm: String, ids: Vec<Uuid> },
    /// Has deleted them.
    Deleted { vm: String, ids: Vec<Uuid> },
    /// There is this snapshot, and it reads so.
    Found { vm: String, id: Uuid, sums: Sums },
    /// Has mounted what it was to check, and begins to recover.
    Mounted,
    /// Recovery has undone, finished or cleared so many directories.
    Recovered(usize),
    /// So many comparisons were made, none wrong.
    Compared(u64),
    /// What was commanded is done.
    Done,
}

impl Word {
    /// Whether the machine waits for the host.
    pub fn waits(&self) -> bool {
        matches!(
            self,
            Word::Next | Word::Taking { .. } | Word::Deleting { .. }
        )
    }

    /// Reads a line; None for one that is for people.
    pub fn read(line: &str) -> anyhow::Result<Option<Word>> {
        let Some(text) = line.strip_prefix(MARK) else {
            return Ok(None);
        };
        let word = serde_json::from_str(text).with_context(|| format!("no word: {line:?}"))?;
        Ok(Some(word))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{MARK}{text}")
    }
}

/// What the host commands a machine that says [`Word::Next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Look at what the power's loss has left on the file systems from this one on.
    Check(usize),
    /// Mount and unmount, so that OCFS2 has recovered what is its own.
    Settle,
    /// Make, compare and delete snapshots, at random from this seed, until told to stop, on file
    /// systems that flush their disks or, as OCFS2 is mounted by default, do not; with FICLONE or, as
    /// before Linux 4.10, without.
    Work {
        seed: u64,
        barrier: bool,
        ficlone: bool,
    },
    /// Delete every snapshot.
    Clear,
    /// Nothing more.
    End,
}
