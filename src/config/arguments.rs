//! Command lines as Go's flag package allows them.
//!
//! Existing unit files call the daemon with `-config FILE`, one dash in front of a long name.
//! The parser of today takes `-config` for the short flags `-c -o -n …`, so the known names get
//! their second dash before it sees them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Long flags that may have one dash, and whether the next argument is their value.
const FLAGS: [(&str, bool); 3] = [("config", true), ("version", false), ("help", false)];

/// Gives known long flags with one dash their second one.
///
/// The first argument is the program and stays as it is. So does everything after `--`, and the
/// value of a flag, whatever it looks like.
///
/// ```
/// use coriolis_ovm_exporter::config::arguments::normalise;
/// let given = ["coriolis-ovm-exporter", "-config", "/etc/x.toml"].map(Into::into);
/// assert_eq!(normalise(given), ["coriolis-ovm-exporter", "--config", "/etc/x.toml"]);
/// ```
pub fn normalise(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut normal: Vec<OsString> = arguments.next().into_iter().collect();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            normal.push(argument);
            break;
        }
        let (argument, takes_value) = long_flag(&argument).unwrap_or((argument, false));
        normal.push(argument);
        if takes_value {
            normal.extend(arguments.next());
        }
    }
    normal.extend(arguments);
    normal
}

/// A known flag with two dashes, and whether the next argument is its value; nothing for any
/// other argument.
fn long_flag(argument: &OsStr) -> Option<(OsString, bool)> {
    let bytes = argument.as_bytes();
    let name_and_value = bytes
        .strip_prefix(b"--")
        .or_else(|| bytes.strip_prefix(b"-"))?;
    let equals = name_and_value.iter().position(|byte| *byte == b'=');
    let name = &name_and_value[..equals.unwrap_or(name_and_value.len())];
    let (_, has_value) = FLAGS.iter().find(|(flag, _)| flag.as_bytes() == name)?;
    let long = OsString::from_vec([b"--", name_and_value].concat());
    Some((long, *has_value && equals.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_dash_becomes_two_for_known_flags_only() {
        let table: [(&[&str], &[&str]); 18] = [
            (&[], &[]),
            (&["p"], &["p"]),
            (&["p", "-config", "f"], &["p", "--config", "f"]),
            (&["p", "-config=f"], &["p", "--config=f"]),
            (&["p", "-config="], &["p", "--config="]),
            (&["p", "--config", "f"], &["p", "--config", "f"]),
            (&["p", "--config=f"], &["p", "--config=f"]),
            (&["p", "-version"], &["p", "--version"]),
            (&["p", "-help"], &["p", "--help"]),
            (
                &["p", "check-config", "-config", "f"],
                &["p", "check-config", "--config", "f"],
            ),
            (&["p", "-config"], &["p", "--config"]),
            // A value is a value, even when it looks like a flag.
            (
                &["p", "-config", "-version"],
                &["p", "--config", "-version"],
            ),
            (
                &["p", "--config", "-version"],
                &["p", "--config", "-version"],
            ),
            (
                &["p", "-config", "--", "-version"],
                &["p", "--config", "--", "--version"],
            ),
            (&["p", "--", "-config", "f"], &["p", "--", "-config", "f"]),
            // Others stay.
            (
                &["p", "-c", "-V", "-configs", "-conf", "config", "-"],
                &["p", "-c", "-V", "-configs", "-conf", "config", "-"],
            ),
            (&["p", "---config", "--json"], &["p", "---config", "--json"]),
            // The program's name may look like anything.
            (&["-version", "-version"], &["-version", "--version"]),
        ];
        for (given, expected) in table {
            let normal = normalise(given.iter().map(OsString::from));
            assert_eq!(normal, expected, "{given:?}");
        }
    }

    #[test]
    fn a_file_name_need_not_be_utf8() {
        let given = [b"p".to_vec(), b"-config=\xff\xfe".to_vec()].map(OsString::from_vec);
        let expected = [b"p".to_vec(), b"--config=\xff\xfe".to_vec()].map(OsString::from_vec);
        assert_eq!(normalise(given), expected);
    }

    proptest! {
        #[test]
        fn doing_it_twice_changes_nothing(words in proptest::collection::vec("(-{0,3}(config|version|help|x)?(=y)?)|.*", 0..8)) {
            let given: Vec<OsString> = words.iter().map(OsString::from).collect();
            let once = normalise(given.clone());
            prop_assert_eq!(once.len(), given.len());
            prop_assert_eq!(normalise(once.clone()), once);
        }
    }
}
