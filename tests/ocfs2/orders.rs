//! What the host and a node's machine say to each other over the serial line: a line of JSON each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a line of the machine begins with that is meant for the host's program, not for people.
pub const MARK: char = '@';

/// Milliseconds since the machine's kernel started.
pub type Uptime = u64;

/// From the host. Each is answered once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Makes a virtual machine with disks of these sizes in a repository. [`Answer::Machine`].
    Machine {
        number: u32,
        repository: usize,
        sizes: Vec<u64>,
    },
    /// Fills a stretch of a disk with random bytes.
    Scribble {
        disk: PathBuf,
        seed: u64,
        offset: u64,
        length: u64,
    },
    /// Writes every second block of a disk, so that it has so many extents.
    Fragment { disk: PathBuf, extents: u64 },
    /// A guest at work. [`Answer::Work`].
    Work { disk: PathBuf, seed: u64 },
    /// SHA-256 of a file. [`Answer::Digest`].
    Digest { file: PathBuf },
    /// [`Answer::Shelf`].
    Shelf,
    /// Takes the lock of a snapshot's directory as another process would, however long that
    /// takes: [`Notice::Locked`] says when.
    Hold { snapshot: Uuid },
    /// Lets go of all that was taken.
    Release,
    /// Says from now on what lies on the shelf, as often as that changes: [`Notice::Shelf`]. Or no
    /// longer.
    Watch { on: bool },
    /// What the daemon has logged. [`Answer::Log`].
    Log,
    /// [`Answer::Uptime`].
    Uptime,
    /// Stops the daemon, unmounts, and ends the machine.
    End,
}

/// From the machine, to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Machine {
        id: String,
        disks: Vec<PathBuf>,
    },
    Work {
        written: u64,
        punched: u64,
        grown: u64,
    },
    Digest(String),
    Shelf(Vec<Lying>),
    Log(String),
    Uptime(Uptime),
}

/// From the machine, of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Notice {
    /// The daemon serves.
    Up {
        kernel: String,
        /// As the kernel names it.
        file_system: String,
    },
    /// The cluster has given up another node.
    Evicted { node: u8, at: Uptime },
    /// What lies in the repositories' snapshot folders, when that was first asked for and when it
    /// was answered.
    Shelf {
        asked: Uptime,
        answered: Uptime,
        lying: Vec<Lying>,
    },
    /// The lock of a snapshot's directory is ours.
    Locked { snapshot: Uuid, at: Uptime },
    /// The daemon has logged that it has put something right.
    Recovered { at: Uptime, line: String },
}

/// Something in a snapshot folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lying {
    pub name: String,
    /// What its manifest says; empty where there is none that can be read.
    pub state: String,
}

/// A line of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    Answer(Answer),
    Notice(Notice),
}
