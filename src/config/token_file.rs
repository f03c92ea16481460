//! `[metrics] token_file`: a word in a file.

use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::sys::regular_file;

/// Characters of the word. The file has not many bytes more.
const LENGTH: RangeInclusive<usize> = 16..=4096;

/// Reads the word, from a regular file. The error says nothing of what is in it.
///
/// # Errors
/// The file system's, without the file's name; that it is no such file, or holds no such word.
pub fn read(path: &Path) -> io::Result<String> {
    let file = regular_file::open(path)?;
    let mut text = String::new();
    let most = *LENGTH.end() as u64 + 2;
    file.take(most).read_to_string(&mut text)?;
    let word = text.trim();
    if LENGTH.contains(&word.len()) && !word.contains(char::is_whitespace) {
        return Ok(word.to_owned());
    }
    Err(io::Error::other(format!(
        "it has to hold one word of {} to {} characters",
        LENGTH.start(),
        LENGTH.end()
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_word_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let most = "x".repeat(*LENGTH.end());
        for (text, word) in [
            ("0123456789abcdef", Some("0123456789abcdef")),
            (" 0123456789abcdef\r\n", Some("0123456789abcdef")),
            (&format!("{most}\n"), Some(most.as_str())),
            ("0123456789abcde", None),
            ("", None),
            ("two words that are long enough", None),
            (&format!("{most}x\n"), None),
            (&"x".repeat(1 << 20), None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).ok().as_deref(), word, "{:.40}", text);
        }
        fs::write(&path, [0xff; 20]).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            let error = read(path).unwrap_err().to_string();
            assert_eq!(error, "it is not a regular file", "{}", path.display());
        }
        assert_eq!(
            read(&folder.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
