//! Opening what has to be a file.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens a regular file to be read. Nothing else is opened: a pipe would keep whoever reads it waiting,
/// and a device may do something when it is opened.
///
/// # Errors
/// The file system's, without the file's name; that it is no such file.
pub fn open(path: &Path) -> io::Result<File> {
    open_if(path, "it is not a regular file", FileType::is_file)
}

/// Opens a regular file or a block device to be read, and nothing else.
///
/// # Errors
/// As of [`open`].
pub fn open_or_block_device(path: &Path) -> io::Result<File> {
    let refusal = "it is neither a regular file nor a block device";
    open_if(path, refusal, |kind| {
        kind.is_file() || kind.is_block_device()
    })
}

/// Reads a regular file that has at most `largest` bytes.
///
/// # Errors
/// As of [`open`]; [`io::ErrorKind::FileTooLarge`] where it has more.
pub fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        let text = format!("it has more than {largest} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn open_if(path: &Path, refusal: &str, is_wanted: impl Fn(&FileType) -> bool) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, refusal);
    if !is_wanted(&fs::metadata(path)?.file_type()) {
        return Err(refused());
    }
    // Something else may have its name by now.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !is_wanted(&file.metadata()?.file_type()) {
        return Err(refused());
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
        for path in [&pipe, folder.path(), Path::new("/dev/null")] {
            let error = open_or_block_device(path).unwrap_err().to_string();
            assert!(error.contains("nor a block device"), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_to_its_limit_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let error = read(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        // What says of itself that it is empty, and is not.
        assert!(read(Path::new("/proc/self/smaps"), 10).is_err());
    }
}
