//! What a guest does to its disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Writes to a file that is there.
#[track_caller]
pub fn write(path: &Path, offset: u64, bytes: &[u8]) {
    write_to(path, offset, bytes);
}

/// The same, and sees to it that the bytes are on the device.
#[track_caller]
pub fn write_through(path: &Path, offset: u64, bytes: &[u8]) {
    write_to(path, offset, bytes).sync_all().unwrap();
}

#[track_caller]
fn write_to(path: &Path, offset: u64, bytes: &[u8]) -> File {
    let file = File::options().write(true).open(path);
    let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all_at(bytes, offset).unwrap();
    file
}
