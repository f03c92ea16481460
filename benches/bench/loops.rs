//! Loop devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coriolis_ovm_exporter::operations::demo::ground::run;

/// Loop devices that show files below a folder.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(devices) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let shows = |device: &fs::DirEntry| {
        let file = fs::read_to_string(device.path().join("loop/backing_file"));
        file.is_ok_and(|file| Path::new(file.trim_end()).starts_with(folder))
    };
    devices
        .flatten()
        .filter(shows)
        .map(|device| Path::new("/dev").join(device.file_name()))
        .collect()
}

/// Reads and writes of the devices pass by the cache of the files they show, so that what is read
/// is cached once or not at all. Where the disk below does not take that, nothing is said: then
/// cold reads are less cold, for everybody alike.
pub fn uncached(folder: &Path) {
    for device in below(folder) {
        let _ = run(Command::new("losetup").arg("--direct-io=on").arg(device));
    }
}
