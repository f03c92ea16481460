use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /api/v1/node`: this node and what it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct Node {
    /// Version of the daemon.
    pub version: String,
    /// Host name.
    pub name: String,
    /// Every repository that the node's agent knows.
    pub repositories: Vec<RepositoryInfo>,
    /// What is wrong, in words for people.
    pub warnings: Vec<String>,
    /// Folders that are named like snapshots and belong to no machine that is known.
    #[serde(default)]
    pub unmatched: Vec<UnmatchedFolder>,
}

/// A folder of a repository that is named like a snapshot and has no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct UnmatchedFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was not adopted.
    pub reason: String,
    /// Bytes that its files take, shared with others or not.
    pub bytes: u64,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
pub struct RepositoryInfo {
    /// 32 hexadecimal digits; the same on every node of the pool.
    pub id: String,
    /// The name that people gave it.
    pub alias: Option<String>,
    /// Where it is, or would be, mounted.
    pub mount_point: PathBuf,
    /// `mounted` or `missing`.
    pub state: String,
    /// Why it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file system, as the kernel names it.
    pub file_system: Option<String>,
    /// Whether disks on it can be snapshotted.
    pub reflink: Reflink,
    /// Why not, or why nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflink_reason: Option<String>,
    /// Free bytes.
    pub free_bytes: Option<u64>,
    /// Size in bytes.
    pub total_bytes: Option<u64>,
}

/// Whether a repository clones files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Reflink {
    /// A trial clone worked.
    Yes,
    /// The file system cannot.
    No,
    /// It could not be tried: not mounted, full, read-only.
    Unknown,
}
