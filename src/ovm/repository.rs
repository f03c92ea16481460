//! Repositories: where virtual disks lie, and whether they can be used right now.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::file_system::{self, Status};

/// A repository that the node's agent knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// 32 hexadecimal digits; the same on every node of the pool.
    pub id: String,
    /// The name that people gave it.
    pub alias: Option<String>,
    /// Where it is mounted, or would be.
    pub mount_point: PathBuf,
    /// Whether it is there.
    pub mount: Mount,
}

/// Whether a repository is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// Mounted, with what its file system says of itself.
    Mounted {
        /// What `statfs` says.
        status: Status,
        /// `st_dev` of the mount: names it while it lasts.
        device: u64,
    },
    /// Not usable now, with the reason. Its snapshots wait.
    Missing(String),
    /// It did not answer: what lies there cannot be told, least of all that something is gone. With
    /// the reason.
    Silent(String),
}

impl Mount {
    /// Why it is not usable now.
    #[must_use]
    pub fn absence(&self) -> Option<&str> {
        match self {
            Mount::Mounted { .. } => None,
            Mount::Missing(reason) | Mount::Silent(reason) => Some(reason),
        }
    }
}

/// Where the list of repositories comes from.
pub trait RepositorySource: Send + Sync + std::fmt::Debug {
    /// All repositories of this node, mounted or not. Blocks.
    fn repositories(&self) -> Vec<Repository>;
}

impl Repository {
    /// Looks at the mount point.
    #[must_use]
    pub fn inspect(id: String, alias: Option<String>, mount_point: PathBuf) -> Repository {
        let mount = inspect(&mount_point);
        Repository {
            id,
            alias,
            mount_point,
            mount,
        }
    }

    /// Whether the mount that was looked at is still the one that is there.
    #[must_use]
    pub fn is_still_mounted(&self) -> bool {
        match &self.mount {
            Mount::Missing(_) | Mount::Silent(_) => false,
            Mount::Mounted { device, .. } => {
                fs::metadata(&self.mount_point).is_ok_and(|found| found.dev() == *device)
            }
        }
    }

    /// Whether an open file lies on the mount that was looked at.
    #[must_use]
    pub fn holds(&self, file: &File) -> bool {
        match &self.mount {
            Mount::Missing(_) | Mount::Silent(_) => false,
            Mount::Mounted { device, .. } => {
                file.metadata().is_ok_and(|found| found.dev() == *device)
            }
        }
    }

    /// Why nothing can be said of what lies here.
    #[must_use]
    pub fn silence(&self) -> Option<&str> {
        match &self.mount {
            Mount::Silent(reason) => Some(reason),
            Mount::Mounted { .. } | Mount::Missing(_) => None,
        }
    }

    /// The file system's word on itself, where the repository is mounted.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match &self.mount {
            Mount::Mounted { status, .. } => Some(status),
            Mount::Missing(_) | Mount::Silent(_) => None,
        }
    }
}

/// A repository's own mark: every repository that OVM made has this file in its root.
const MARK: &str = ".ovsrepo";

fn inspect(mount_point: &Path) -> Mount {
    let missing = |reason: String| Mount::Missing(reason);
    let root = match File::open(mount_point) {
        Ok(root) => root,
        Err(error) => return missing(format!("{}: {error}", mount_point.display())),
    };
    let metadata = match root.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return missing(format!("{} is not a directory", mount_point.display())),
        Err(error) => return missing(format!("{}: {error}", mount_point.display())),
    };
    // A mount point lies on another device than its parent. That needs no /proc. A repository
    // that is a plain folder (a test set-up) shows its mark instead.
    let is_mount = mount_point
        .parent()
        .and_then(|parent| fs::metadata(parent).ok())
        .is_some_and(|parent| parent.dev() != metadata.dev());
    if !is_mount && !mount_point.join(MARK).exists() {
        return missing(format!(
            "nothing is mounted on {} (and it holds no {MARK})",
            mount_point.display()
        ));
    }
    match file_system::status(&root) {
        Ok(status) => Mount::Mounted {
            status,
            device: metadata.dev(),
        },
        Err(error) => missing(format!("{}: {error}", mount_point.display())),
    }
}

/// The repository that a path belongs to: the one whose mount point is the longest
/// whole-component prefix. `/OVS/a` is no prefix of `/OVS/ab/disk.img`.
#[must_use]
pub fn containing<'r>(repositories: &'r [Repository], path: &Path) -> Option<&'r Repository> {
    repositories
        .iter()
        .filter(|repository| path.starts_with(&repository.mount_point))
        .max_by_key(|repository| repository.mount_point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(mount_point: &str) -> Repository {
        Repository {
            id: mount_point.to_owned(),
            alias: None,
            mount_point: mount_point.into(),
            mount: Mount::Missing("test".into()),
        }
    }

    #[test]
    fn the_longest_whole_component_prefix_wins() {
        let all = [
            repository("/OVS/Repositories/a"),
            repository("/OVS/Repositories/a/nested"),
            repository("/OVS/Repositories/ab"),
        ];
        let of = |path: &str| containing(&all, Path::new(path)).map(|found| found.id.as_str());
        assert_eq!(of("/OVS/Repositories/a/d.img"), Some("/OVS/Repositories/a"));
        assert_eq!(
            of("/OVS/Repositories/ab/d.img"),
            Some("/OVS/Repositories/ab")
        );
        assert_eq!(
            of("/OVS/Repositories/a/nested/d"),
            Some("/OVS/Repositories/a/nested")
        );
        assert_eq!(of("/OVS/Repositories/abc/d.img"), None);
        assert_eq!(of("/elsewhere/d.img"), None);
    }

    #[test]
    fn an_empty_folder_is_not_a_mounted_repository() {
        let dir = tempfile::tempdir().unwrap();
        let look = || Repository::inspect("r".into(), None, dir.path().to_owned());
        assert!(
            matches!(look().mount, Mount::Missing(reason) if reason.contains("nothing is mounted"))
        );
        fs::write(dir.path().join(MARK), "OVS_REPO_ALIAS=x\n").unwrap();
        assert!(look().status().is_some());
    }
}
