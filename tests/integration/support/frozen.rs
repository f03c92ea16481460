//! Storage that does not answer.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A frozen file system: who changes something on it waits until this is dropped.
pub struct Frozen(PathBuf);

impl Frozen {
    pub fn new(mount_point: &Path) -> Frozen {
        fsfreeze("--freeze", mount_point);
        Frozen(mount_point.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        fsfreeze("--unfreeze", &self.0);
    }
}

fn fsfreeze(what: &str, mount_point: &Path) {
    let status = Command::new("fsfreeze").arg(what).arg(mount_point).status();
    assert!(status.unwrap().success(), "fsfreeze {what}");
}
