//! A machine's readiness: what its disks hold, and what is to be looked at inside of the guest.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `GET /api/v1/vms/{vm}/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct VmReport {
    /// The machine's id.
    pub vm_id: String,
    /// The snapshot that was read.
    pub snapshot: Uuid,
    /// When that was taken, RFC 3339.
    pub created_at: String,
    /// How the machine starts; none where no disk tells.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// The disk that tells.
    #[serde(default)]
    pub boot_disk: Option<String>,
    /// Extents of all disks.
    pub extents: u64,
    /// How long the next snapshot is expected to hold the disks, all of them together.
    pub expected_stall_ms: u64,
    /// How that is known.
    pub stall_source: String,
    /// Its disks, in the order of the snapshot.
    pub disks: Vec<DiskReport>,
    /// What only somebody inside of the guest can see.
    pub checks: Vec<GuestCheck>,
    /// What concerns more than one disk.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How firmware starts a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// By code in the first sector.
    Bios,
    /// From an EFI system partition.
    Uefi,
}

/// A disk of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct DiskReport {
    /// Its name in the snapshot.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Extents when the snapshot was sealed.
    pub extents: u64,
    /// How long this snapshot held the disk.
    pub stall_ms: u64,
    /// How long the next one is expected to.
    pub expected_stall_ms: u64,
    /// What is on it.
    #[serde(flatten)]
    pub contents: DiskContents,
}

/// What is on a disk, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct DiskContents {
    /// Its partition table.
    pub table: TableKind,
    /// The disk's GUID, or the eight digits of an MBR's signature.
    #[serde(default)]
    pub table_id: Option<String>,
    /// The code in its first sector.
    pub boot_code: BootCode,
    /// How a machine starts from it; none where nothing says that one does.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// In the order of the table.
    pub partitions: Vec<Partition>,
    /// What the whole disk is, where there are no partitions.
    #[serde(default)]
    pub content: Option<Content>,
    /// What is damaged, odd, or was left out.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Bytes that were read of it.
    pub bytes_read: u64,
}

/// The kind of a partition table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// There is none.
    #[default]
    None,
    /// That of BIOS machines.
    Mbr,
    /// GUID partition table.
    Gpt,
}

/// What the first sector begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BootCode {
    /// Zeros.
    #[default]
    None,
    /// GRUB 2.
    Grub,
    /// GRUB 0.9x.
    GrubLegacy,
    /// LILO.
    Lilo,
    /// A master boot record of Windows.
    Windows,
    /// One of SYSLINUX.
    Syslinux,
    /// Code that is not known here.
    Unknown,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Partition {
    /// As Linux counts them: logical ones from 5 on.
    pub number: u32,
    /// Offset on the disk, bytes.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Two hexadecimal digits (MBR) or a GUID.
    #[serde(rename = "type")]
    pub kind: String,
    /// What that type is for, where it is known here.
    #[serde(default)]
    pub purpose: Option<String>,
    /// Its name in a GUID partition table.
    #[serde(default)]
    pub name: Option<String>,
    /// Marked as the one to start from.
    pub bootable: bool,
    /// What is in it; none where nothing is recognised.
    #[serde(default)]
    pub content: Option<Content>,
}

/// What a partition, a disk or a logical volume holds, by its superblock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Content {
    /// `ext4`, `xfs`, `swap`, `lvm2`, …
    pub kind: String,
    /// As `blkid` prints it.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Its label.
    #[serde(default)]
    pub label: Option<String>,
    /// Bytes, as it says itself.
    #[serde(default)]
    pub size: Option<u64>,
    /// Of a physical volume: the group that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<VolumeGroup>,
}

/// A group of LVM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// How many physical volumes it has, on whichever disks.
    pub physical_volumes: usize,
    /// Its logical volumes.
    pub volumes: Vec<LogicalVolume>,
}

/// A logical volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct LogicalVolume {
    /// Its name in the group.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// Bytes.
    pub size: u64,
    /// What it holds, where its beginning lies on this disk in one piece.
    #[serde(default)]
    pub content: Option<Content>,
}

/// Something to be looked at inside of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct GuestCheck {
    /// Stays the same from release to release.
    pub id: String,
    /// What to look at, and why.
    pub text: String,
}
