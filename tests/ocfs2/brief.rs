//! What the host tells the program in the machine.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Its name in the payload.
pub const FILE: &str = "brief.json";
/// Where the machine has the payload.
pub const PAYLOAD: &str = "/payload";
/// The node's own files in the payload: certificates, agent databases, configuration.
pub const NODE: &str = "node";
/// Where the daemon listens in the machine.
pub const DAEMON_PORT: u16 = 8443;
/// Where the manager listens in the machine.
pub const MANAGER_PORT: u16 = 7002;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Brief {
    /// Of all that is random. The same seed gives the same work.
    pub seed: u64,
    /// Full counts instead of reduced ones.
    pub long: bool,
    /// The file systems, in the order of the scenario's table.
    pub disks: Vec<Disk>,
    /// For a machine that is a node with a daemon.
    pub seat: Option<Seat>,
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
    /// Where its heartbeat area begins, in sectors of 512 bytes; only of a shared one.
    pub heartbeat: Option<u64>,
}

/// Which node a machine is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seat {
    /// Its own number, from 1.
    pub number: u8,
    /// How many nodes share the disks; 1 mounts them without a cluster.
    pub nodes: u8,
}

impl Seat {
    /// MAC address of the interface to the host.
    pub fn outer_mac(&self) -> String {
        format!("52:54:00:00:88:{:02x}", self.number)
    }

    /// MAC address of the interface between the nodes.
    pub fn inner_mac(&self) -> String {
        format!("52:54:00:00:77:{:02x}", self.number)
    }
}

/// The address of a node among the nodes.
pub fn inner_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, number)
}

/// The id of the repository on the disk of that place in [`Brief::disks`].
pub fn repository_id(at: usize) -> String {
    format!("0004fb0000030000{:016x}", at + 1)
}

/// Where a node mounts it.
pub fn mount_point(at: usize) -> PathBuf {
    PathBuf::from("/OVS/Repositories").join(repository_id(at))
}

impl Brief {
    pub fn count(&self, reduced: u32, long: u32) -> u32 {
        if self.long { long } else { reduced }
    }
}
