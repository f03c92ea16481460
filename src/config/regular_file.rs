//! Opening what has to be a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file to be read. Nothing else is opened: a pipe would keep whoever reads it waiting,
/// and a device may do something when it is opened.
///
/// # Errors
/// The file system's, without the file's name; that it is no such file.
pub fn open(path: &Path) -> io::Result<File> {
    let no_file = || io::Error::other("it is not a regular file");
    if !fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    // Something else may have its name by now.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("config.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let error = open(&pipe).unwrap_err().to_string();
        assert_eq!(error, "it is not a regular file");
        assert!(open(folder.path()).is_err() && open(Path::new("/dev/null")).is_err());
    }
}
