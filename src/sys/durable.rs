//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes the names in a directory durable.
///
/// # Errors
/// The kernel's.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The name under which [`replace`] writes before it renames.
#[must_use]
pub fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

/// Puts `content` under `directory/name`: written beside it, fsynced, renamed over it, the
/// directory fsynced. A reader sees the old content or the new, never a part.
///
/// # Errors
/// The kernel's; the old content is still there then.
pub fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = directory.join(temporary(name));
    // A leftover of a crash: nobody reads it.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, directory.join(name)));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(directory)
}
