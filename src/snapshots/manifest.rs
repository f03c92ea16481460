//! The manifest: what a snapshot is, written beside its files.
//!
//! `<repository>/CoriolisSnapshots/<snapshot id>/manifest.json` is the truth. Every node that has
//! the repository mounted reads the same one. Where the disks of a virtual machine lie in several
//! repositories, each has a copy that lists all disks; the snapshot is ready only when every copy
//! says so. A manifest is replaced whole (written beside, fsynced, renamed), never edited.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::protocol::Consistency;

/// The format that this release writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// File name, below the snapshot's directory.
pub const FILE_NAME: &str = "manifest.json";
/// Larger than any manifest that we write: a VM has at most some hundred disks.
pub const MAX_SIZE: u64 = 4 << 20;

/// A snapshot of all disks of one virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The snapshot's id, also its directory's name.
    pub id: Uuid,
    /// The virtual machine's id.
    pub vm_id: String,
    /// When the clones were taken.
    pub created_at: Timestamp,
    /// How far its life has come.
    pub state: State,
    /// Host name of the node that made it.
    pub node: String,
    /// Every repository that holds a copy of this manifest.
    pub repositories: Vec<Place>,
    /// Every disk, whichever repository holds it.
    pub disks: Vec<Disk>,
    /// What did not go as it should have, in words for people.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What its client calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the daemon deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The request that asked for it, where that had a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<KeyedRequest>,
    /// Whether its disks are of one moment.
    #[serde(default)]
    pub consistency: Consistency,
    /// How long the machine was held for it, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// The first generation made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// A request that can be told from others, so that one sent twice makes one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedRequest {
    /// What the client calls it; unique for a virtual machine.
    pub key: String,
    /// SHA-256 of what was asked for, hexadecimal.
    pub digest: String,
}

/// How far a snapshot's life has come. What a crash leaves in `Creating` is undone, what it
/// leaves in `Deleting` is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Clones are being made; nobody has been told the id yet.
    Creating,
    /// Complete and sealed.
    Ready,
    /// Files are being removed.
    Deleting,
}

/// A repository, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The repository's id: the same on every node.
    pub repository: String,
    /// Where the node that wrote this had it mounted.
    pub mount_point: PathBuf,
}

/// One disk of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// File name in the snapshot's directory; unique in the snapshot.
    pub name: String,
    /// The disk that was cloned. Comparisons pair disks by this.
    pub parent_path: PathBuf,
    /// Id of the repository that holds both.
    pub repository: String,
    /// Bytes.
    pub size: u64,
    /// How many extents the clone had when it was sealed. A count, not a map: maps move.
    pub extents: u64,
    /// How long the clone held the disk, microseconds.
    pub stall_us: u64,
    /// Whether the file carries the immutable flag.
    pub sealed: bool,
    /// What the sealed file was. None until it is sealed.
    pub identity: Option<Identity>,
}

/// Which file a snapshot's disk is, over remounts and across nodes.
///
/// Reading extent maps cannot find out that a file was replaced by another; this can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// UUID of the file system (not of the device, and not `st_dev`: those follow the mount).
    pub file_system: Uuid,
    /// File handle: inode and generation.
    pub handle: String,
    /// Bytes.
    pub size: u64,
    /// Modification time, `seconds.nanoseconds` since 1970.
    pub modified: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It was written by a newer release.
    #[error(
        "format version {0} is newer than this release reads ({VERSION}); upgrade this node's exporter"
    )]
    Newer(u64),
    /// Not a manifest.
    #[error("not a manifest: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A manifest that contradicts itself or the place it lies in.
    #[error("not a manifest that this program wrote: {0}")]
    Inconsistent(String),
}

impl Manifest {
    /// Reads the bytes of a manifest file that lies in the directory of snapshot `id`.
    ///
    /// # Errors
    /// [`ManifestError`]. Names that would lead out of the snapshot's directory are refused.
    pub fn parse(bytes: &[u8], id: Uuid) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let versioned: Versioned = serde_json::from_slice(bytes)?;
        if versioned.version > u64::from(VERSION) {
            return Err(ManifestError::Newer(versioned.version));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.check(id)?;
        Ok(manifest)
    }

    fn check(&self, id: Uuid) -> Result<(), ManifestError> {
        let refuse = |what: String| Err(ManifestError::Inconsistent(what));
        if self.id != id {
            return refuse(format!("it names snapshot {} and lies in {id}", self.id));
        }
        let mut names = std::collections::HashSet::new();
        for disk in &self.disks {
            if !is_plain_name(&disk.name) {
                return refuse(format!("disk name {:?} is not a file name", disk.name));
            }
            if !names.insert(&disk.name) {
                return refuse(format!("two disks are named {:?}", disk.name));
            }
            if !self
                .repositories
                .iter()
                .any(|place| place.repository == disk.repository)
            {
                return refuse(format!(
                    "disk {:?} lies in an unlisted repository",
                    disk.name
                ));
            }
            if self.state == State::Ready && disk.identity.is_none() {
                return refuse(format!("disk {:?} is ready without an identity", disk.name));
            }
        }
        Ok(())
    }

    /// The same, being deleted.
    #[must_use]
    pub fn deleting(&self) -> Manifest {
        Manifest {
            state: State::Deleting,
            ..self.clone()
        }
    }

    /// The bytes to write.
    ///
    /// # Panics
    /// Never: all that a manifest holds has a JSON form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest has a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// The disk of that name.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }

    /// The disk that was cloned from that path.
    #[must_use]
    pub fn disk_of(&self, parent_path: &Path) -> Option<&Disk> {
        self.disks
            .iter()
            .find(|disk| disk.parent_path == parent_path)
    }
}

/// A single component that can be a disk's file: not a way out, not ours, not hidden.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name != FILE_NAME
        && !name.contains(['/', '\0'])
        && name.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: Uuid) -> Manifest {
        Manifest {
            version: VERSION,
            id,
            vm_id: "0004fb0000060000ccaf98a0baa2c186".into(),
            created_at: Timestamp::UNIX_EPOCH,
            state: State::Ready,
            node: "ovs1".into(),
            repositories: vec![Place {
                repository: "r1".into(),
                mount_point: "/OVS/Repositories/r1".into(),
            }],
            disks: vec![Disk {
                name: "System.img".into(),
                parent_path: "/OVS/Repositories/r1/VirtualDisks/System.img".into(),
                repository: "r1".into(),
                size: 1 << 30,
                extents: 3,
                stall_us: 1200,
                sealed: true,
                identity: Some(Identity {
                    file_system: Uuid::nil(),
                    handle: "129:00".into(),
                    size: 1 << 30,
                    modified: "1700000000.123456789".into(),
                }),
            }],
            warnings: vec![],
            label: None,
            expires_at: None,
            request: None,
            consistency: Consistency::None,
            pause_us: None,
            adopted: false,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let id = Uuid::new_v4();
        let manifest = sample(id);
        assert_eq!(Manifest::parse(&manifest.to_bytes(), id).unwrap(), manifest);
    }

    #[test]
    fn a_manifest_cannot_lead_out_of_its_directory() {
        let id = Uuid::new_v4();
        for name in [
            "../../VirtualDisks/System.img",
            "a/b",
            "",
            ".",
            "..",
            ".hidden",
            "manifest.json",
        ] {
            let mut manifest = sample(id);
            manifest.disks[0].name = name.into();
            let error = Manifest::parse(&manifest.to_bytes(), id).unwrap_err();
            assert!(
                matches!(error, ManifestError::Inconsistent(_)),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn foreign_and_newer_manifests_are_told_apart() {
        let id = Uuid::new_v4();
        let other = Uuid::new_v4();
        let bytes = sample(other).to_bytes();
        assert!(matches!(
            Manifest::parse(&bytes, id),
            Err(ManifestError::Inconsistent(_))
        ));
        let newer = br#"{"version": 7, "unheard": "of"}"#;
        assert!(matches!(
            Manifest::parse(newer, id),
            Err(ManifestError::Newer(7))
        ));
        assert!(matches!(
            Manifest::parse(b"{}", id),
            Err(ManifestError::Malformed(_))
        ));
        assert!(matches!(
            Manifest::parse(b"", id),
            Err(ManifestError::Malformed(_))
        ));
    }
}
