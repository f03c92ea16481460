//! Room on the disk: how much it takes, whether it is there, and what earlier runs have left.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, bail};
use coriolis_ovm_exporter::sys::file_system;
use coriolis_ovm_exporter::sys::flock::Flock;
use tempfile::TempDir;

const PREFIX: &str = "coriolis-bench-";

/// A folder that is gone when dropped, locked while it is there.
pub struct Room {
    folder: TempDir,
    _lock: Flock,
}

impl Room {
    /// Makes a folder below `parent`, where `space` bytes are free.
    pub fn make(parent: &Path, space: u64) -> anyhow::Result<Room> {
        remove_abandoned(parent);
        let place = File::open(parent).with_context(|| format!("{}", parent.display()))?;
        let free = file_system::status(&place)?.available;
        if free < space {
            bail!(
                "{} has {} of free space, and this takes up to {}; --dir (make bench DIR=…) names \
                 another folder on a disk",
                parent.display(),
                gigabytes(free),
                gigabytes(space)
            );
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = Flock::try_exclusive(File::create(folder.path().join("lock"))?)?;
        Ok(Room {
            folder,
            _lock: lock.context("somebody has locked our folder")?,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Folders of runs that were killed with this program.
fn remove_abandoned(parent: &Path) {
    for item in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !item.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // One that has no lock yet is just being made.
        let lock = File::open(item.path().join("lock")).and_then(Flock::try_exclusive);
        if let Ok(Some(_lock)) = lock {
            let _ = fs::remove_dir_all(item.path());
        }
    }
}

/// For people.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
