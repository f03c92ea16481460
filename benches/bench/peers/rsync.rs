//! rsync, which finds out what changed by reading both sides.

use std::path::Path;
use std::process::Command;

use crate::process;

/// Brings a replica up to date in place; how long that took, seconds.
pub fn update(source: &Path, replica: &Path) -> anyhow::Result<f64> {
    let mut rsync = Command::new("rsync");
    // Without --ignore-times, files of one second and size would pass for equal.
    rsync.args(["--inplace", "--no-whole-file", "--ignore-times"]);
    Ok(process::finish(rsync.args([source, replica]))?.seconds)
}
