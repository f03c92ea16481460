//! What people paste into a shell.

use std::path::Path;

/// A path as one word of a shell, whatever characters are in it.
#[must_use]
pub fn of(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Only a zero byte has no place in a word, and none is in a path.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_it_for_one_word() {
        assert_eq!(of(Path::new("/etc/a-b_c.d/1")), "/etc/a-b_c.d/1");
        for path in [
            "/plain",
            "/a folder",
            "/it's \"$HOME\" `id` \\",
            "/a;b|c&d*?[x]~#!(){}<>",
            "/new\nline",
            "/ümläut",
        ] {
            let line = format!("printf %s {}", of(Path::new(path)));
            let said = Command::new("/bin/sh").args(["-c", &line]).output();
            assert_eq!(String::from_utf8(said.unwrap().stdout).unwrap(), path);
        }
    }
}
