use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Vm {
    /// The name that people gave it.
    pub friendly_name: String,
    /// vm.cfg's `name`; usually the id.
    pub name: String,
    /// vm.cfg's `uuid`.
    pub uuid: String,
    /// Every disk of vm.cfg, whether or not it can be snapshotted.
    pub disks: Vec<VmDisk>,
    /// Whether every disk that must be copied can be.
    pub snapshot_compatible: bool,
    /// Ids of its snapshots that can be used now, oldest first.
    pub snapshots: Vec<Uuid>,
    /// What requests name it by: the name of its directory.
    #[serde(default)]
    pub id: String,
    /// Virtual processors.
    #[serde(default)]
    pub vcpus: Option<u32>,
    /// Memory, MiB.
    #[serde(default)]
    pub memory_mib: Option<u64>,
    /// Network interfaces.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// `xen_hvm`, `xen_pvm`, `xen_hvm_pv_drivers`, …
    #[serde(default)]
    pub domain_type: Option<String>,
    /// The guest's operating system, as OVM notes it.
    #[serde(default)]
    pub os_type: Option<String>,
    /// `c`: disk, `d`: CD, `n`: network, in order.
    #[serde(default)]
    pub boot_order: Option<String>,
    /// What the machine does now, as far as this node can tell.
    #[serde(default)]
    pub state: VmState,
    /// Whether this node runs it. None where the node cannot tell.
    #[serde(default)]
    pub on_this_node: Option<bool>,
    /// What is wrong with it, in words for people.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a machine does, as far as one node can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// Runs here.
    Running,
    /// Is here, paused.
    Paused,
    /// Runs nowhere.
    Off,
    /// Is not here; its repository is shared, so it is off or runs on another node. Ask there.
    Elsewhere,
    /// The toolstack does not say, or the machine is being migrated.
    #[default]
    Unknown,
}

/// A disk of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct VmDisk {
    /// The name that its file has in a snapshot.
    pub name: String,
    /// Its path on the node.
    pub path: String,
    /// The device in the guest, such as `xvda`.
    pub device_name: String,
    /// Whether it can be snapshotted.
    pub snapshot_compatible: bool,
    /// `r`, `w`, or `w!`: writable, and shared by several machines.
    pub mode: String,
    /// Bytes. None where it is no file that can be read.
    #[serde(default)]
    pub size: Option<u64>,
    /// A CD drive.
    #[serde(default)]
    pub cdrom: bool,
    /// Why it cannot be snapshotted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Nic {
    /// MAC address.
    pub mac: Option<String>,
    /// The bridge on the node: OVM's network id.
    pub bridge: Option<String>,
}
