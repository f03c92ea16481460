//! What the host tells the program in the machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Its name in the payload.
pub const FILE: &str = "brief.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Brief {
    /// Of all that is random. The same seed gives the same work.
    pub seed: u64,
    /// Full counts instead of reduced ones.
    pub long: bool,
    /// The file systems, in the order of the scenario's table.
    pub disks: Vec<Disk>,
}

/// A file system that the host has made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// In the machine, such as `/dev/vdb`.
    pub device: PathBuf,
    /// Bytes.
    pub cluster: u64,
    /// What the host's tools read from the image.
    pub uuid: Uuid,
}

impl Brief {
    pub fn count(&self, reduced: u32, long: u32) -> u32 {
        if self.long { long } else { reduced }
    }
}
