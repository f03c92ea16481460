//! A password in a file, for what runs unattended.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::sys::{descriptors, regular_file};

/// More is no password, and what comes after its line.
const LARGEST: u64 = 64 << 10;
/// Where a shell's `<(…)` and a service manager hand over what is open already.
const DESCRIPTORS: [&str; 2] = ["/dev/fd", "/proc/self/fd"];
const STANDARD_INPUT: &str = "/dev/stdin";

/// The first line, without its end. The error says nothing of what is in it.
///
/// A file that every user of this machine may read is refused, as ssh does with keys and libpq with
/// `.pgpass`: a warning would be read by nobody where this is for. Its group may read it: so a
/// credential of systemd's looks where a list of access rights gives it to the service's user.
///
/// # Errors
/// The file system's, without the file's name; that it is no such file, or has no password.
pub fn read(path: &Path) -> io::Result<String> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let file = open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.mode() & 0o006 != 0 {
        return Err(refused(
            "every user of this machine may read or write it; take that away (chmod 600)",
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused("it is too large for a file with a password"));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(refused(
            "its first line is empty; it has to be the password",
        )),
        Ok(password) => Ok(password.to_owned()),
        Err(_) => Err(refused("its first line is no UTF-8")),
    }
}

/// A pipe is waited for where somebody has opened it for this, and never by its name.
fn open(path: &Path) -> io::Result<File> {
    let Some(number) = descriptor(path) else {
        return regular_file::open(path);
    };
    // To open it by its name would ask whether this user may: who has opened it was another one, perhaps.
    let file = descriptors::duplicate(number)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_file() {
        return Ok(file);
    }
    let text = "it is neither a file nor a pipe";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The number of what is open already, if that is what the path names.
fn descriptor(path: &Path) -> Option<RawFd> {
    if path == Path::new(STANDARD_INPUT) {
        return Some(0);
    }
    let number = |place| path.strip_prefix(place).ok()?.to_str()?.parse().ok();
    DESCRIPTORS.iter().find_map(number)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let longest = "x".repeat(usize::try_from(LARGEST).unwrap());
        for (text, password) in [
            ("correct horse", Ok("correct horse")),
            ("correct horse\n", Ok("correct horse")),
            (
                " spaces are its own \r\nwhoever reads on",
                Ok(" spaces are its own "),
            ),
            (&longest, Ok(longest.as_str())),
            ("", Err("empty")),
            ("\nsecond", Err("empty")),
            ("\r\n", Err("empty")),
            (&format!("{longest}\n"), Err("too large")),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            match (read(&path), password) {
                (Ok(found), Ok(password)) => assert!(found == password, "{found:.40}"),
                (Err(error), Err(said)) => {
                    let error = error.to_string();
                    assert!(error.contains(said), "{error}");
                }
                (found, password) => panic!("{found:?} is not {password:?}"),
            }
        }
        fs::write(&path, b"secret\xff\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("UTF-8") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn what_everybody_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "secret").unwrap();
        for (mode, is_taken) in [
            (0o400, true),
            (0o600, true),
            (0o440, true),
            (0o604, false),
            (0o644, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = read(&path);
            assert_eq!(found.is_ok(), is_taken, "{mode:o}: {found:?}");
            if let Err(error) = found {
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
    }

    #[test]
    fn a_pipe_is_read_where_it_is_open_and_never_waited_for_by_name() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"secret\n").unwrap();
        drop(writer);
        for place in ["/dev/fd", "/proc/self/fd"] {
            let path = format!("{place}/{}", reader.as_raw_fd());
            let found = read(Path::new(&path));
            match place {
                "/dev/fd" => assert_eq!(found.unwrap(), "secret"),
                // It has been read.
                _ => assert!(found.unwrap_err().to_string().contains("empty")),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            let error = read(path).unwrap_err().to_string();
            assert_eq!(error, "it is not a regular file", "{}", path.display());
        }
        // The descriptor itself, and not another one of what it names.
        let mut lost = File::create(folder.path().join("lost")).unwrap();
        lost.write_all(b"secret\n").unwrap();
        fs::set_permissions(folder.path().join("lost"), Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(folder.path().join("lost")).unwrap();
        lost.rewind().unwrap();
        let path = format!("/dev/fd/{}", lost.as_raw_fd());
        // It is open to be written only: its name would open it to be read.
        let error = read(Path::new(&path)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        let error = read(Path::new("/dev/fd/1000000")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        let null = File::open("/dev/null").unwrap();
        let path = format!("/dev/fd/{}", null.as_raw_fd());
        let error = read(Path::new(&path)).unwrap_err().to_string();
        assert!(error.contains("nor a pipe"), "{error}");
    }
}
