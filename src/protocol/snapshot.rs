use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Consistency;
use crate::extents::{Range, RangeKind};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Its id.
    pub id: Uuid,
    /// The machine that it is of.
    pub vm_id: String,
    /// Every disk.
    pub disks: Vec<SnapshotDisk>,
    /// When the clones were taken.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// What its chunks are relative to: an older snapshot, if the request named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_to: Option<Uuid>,
    /// What did not go as it should have, in words for people.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What its client calls it.
    #[serde(default)]
    pub label: Option<String>,
    /// When the daemon deletes it.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether its disks are of one moment.
    #[serde(default)]
    pub consistency: Consistency,
    /// How long the machine was held for that, milliseconds.
    #[serde(default)]
    pub pause_ms: Option<f64>,
    /// The first generation made it.
    #[serde(default)]
    pub adopted: bool,
}

/// A disk of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct SnapshotDisk {
    /// The disk that was cloned.
    pub parent_path: PathBuf,
    /// The clone.
    pub path: PathBuf,
    /// The snapshot that it belongs to.
    pub snapshot_id: Uuid,
    /// Sorted, not overlapping, inside the disk. Without `compareTo`, the ranges that hold data;
    /// with it, those that a replica of the base must write to become this.
    pub chunks: Vec<Chunk>,
    /// The name that requests use.
    pub name: String,
    /// Mount point of the repository that holds both.
    pub repo_mountpoint: PathBuf,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Extents when the clone was made.
    #[serde(default)]
    pub extents: u64,
    /// How long the clone held the disk, milliseconds.
    #[serde(default)]
    pub stall_ms: f64,
    /// Whether the file is protected by the immutable flag.
    #[serde(default)]
    pub sealed: bool,
    /// With `compareTo`: the snapshot that holds the disk that this one was compared to, or null
    /// where the base has no such disk and the chunks are all of it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    #[cfg_attr(feature = "server", schemars(with = "Option<Uuid>"))]
    pub base: Option<Option<Uuid>>,
    /// With `compareTo`: `extents` or `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why it was compared by content, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A field that may be absent, null, or there.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use uuid::Uuid;

    #[allow(clippy::ref_option, clippy::option_option)]
    pub fn serialize<S: Serializer>(
        value: &Option<Option<Uuid>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(serializer)
    }

    #[allow(clippy::option_option)]
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<Uuid>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// A range of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Chunk {
    /// Offset in the disk, bytes.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Where it lies on the device; 0 where that means nothing.
    pub physical_start: u64,
    /// It reads as zeros. A replica must become zero there (write zeros or punch a hole); only the
    /// bytes need not be fetched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero: bool,
}

impl From<Range> for Chunk {
    fn from(range: Range) -> Chunk {
        Chunk {
            start: range.start,
            length: range.length,
            physical_start: range.physical_start,
            zero: range.kind == RangeKind::Zero,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(base: Option<Option<Uuid>>) -> SnapshotDisk {
        SnapshotDisk {
            parent_path: "/r/VirtualDisks/a.img".into(),
            path: "/r/CoriolisSnapshots/s/a.img".into(),
            snapshot_id: Uuid::nil(),
            chunks: vec![Chunk {
                start: 0,
                length: 4096,
                physical_start: 8192,
                zero: false,
            }],
            name: "a.img".into(),
            repo_mountpoint: "/r".into(),
            size: 4096,
            extents: 1,
            stall_ms: 0.5,
            sealed: true,
            base,
            method: None,
            reason: None,
        }
    }

    #[test]
    fn a_base_is_absent_or_null_or_an_id() {
        for base in [None, Some(None), Some(Some(Uuid::nil()))] {
            let disk = disk(base);
            let json = serde_json::to_value(&disk).unwrap();
            assert_eq!(json.get("base").is_some(), base.is_some());
            assert_eq!(serde_json::from_value::<SnapshotDisk>(json).unwrap(), disk);
        }
    }

    #[test]
    fn zero_is_said_only_where_it_is_true() {
        let chunk = disk(None).chunks[0];
        assert_eq!(
            serde_json::to_string(&chunk).unwrap(),
            r#"{"start":0,"length":4096,"physical_start":8192}"#
        );
        let zero = Chunk {
            zero: true,
            ..chunk
        };
        assert!(
            serde_json::to_string(&zero)
                .unwrap()
                .ends_with(r#""zero":true}"#)
        );
    }
}
