//! A vm.cfg on disk.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::{MAX_SIZE, ParseError, VmConfigError};

/// How often a file is read again that changed under the reader.
const ATTEMPTS: usize = 3;

/// Reads a vm.cfg of at most [`MAX_SIZE`] bytes. The agent rewrites the file while the node runs:
/// one that changed meanwhile is read again.
///
/// # Errors
/// When the file cannot be read, is not a regular file (it is opened so that a pipe does not
/// block), is too large, or changes each time. All name the file.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, VmConfigError> {
    let failed = |source| VmConfigError::Io {
        path: path.to_owned(),
        source,
    };
    for _ in 0..ATTEMPTS {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
            .open(path)
            .map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() {
            return Err(VmConfigError::NotRegular {
                path: path.to_owned(),
            });
        }
        check_size(path, before.len())?;
        let bytes = read_all(&mut file).map_err(failed)?;
        check_size(path, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let after = file.metadata().map_err(failed)?;
        if stamp(&before) == stamp(&after)
            && u64::try_from(bytes.len()).is_ok_and(|size| size == after.len())
        {
            return Ok(bytes);
        }
    }
    Err(VmConfigError::Changing {
        path: path.to_owned(),
    })
}

/// Reads one byte more than allowed, so that a file that grew is noticed.
fn read_all(file: &mut File) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_SIZE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_size(path: &Path, size: u64) -> Result<(), VmConfigError> {
    if usize::try_from(size).is_ok_and(|size| size <= MAX_SIZE) {
        return Ok(());
    }
    Err(VmConfigError::Content {
        path: path.to_owned(),
        source: ParseError::TooLarge { size },
    })
}

/// What changes when a file is written.
fn stamp(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_regular_file_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.cfg");
        std::fs::write(&path, b"name = 'a'\n").unwrap();
        assert_eq!(read_bounded(&path).unwrap(), b"name = 'a'\n");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read_bounded(&link).unwrap(), b"name = 'a'\n");
    }

    #[test]
    fn other_things_are_refused_by_name_and_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            let error = read_bounded(path).unwrap_err();
            assert!(matches!(error, VmConfigError::NotRegular { .. }), "{error}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
        for path in [&socket, &folder.path().join("absent")] {
            let error = read_bounded(path).unwrap_err();
            assert!(matches!(error, VmConfigError::Io { .. }), "{error}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }

    #[test]
    fn the_size_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.cfg");
        std::fs::write(&path, vec![b'\n'; MAX_SIZE]).unwrap();
        assert_eq!(read_bounded(&path).unwrap().len(), MAX_SIZE);
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read_bounded(&path).unwrap_err().to_string();
        assert!(
            error.contains("vm.cfg") && error.contains("1099511627776"),
            "{error}"
        );
    }
}
