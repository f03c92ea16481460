//! What is wrong with the pause records, for people to mend.

use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::record;

/// What is wrong with the folder of the records or what lies there, in words. Takes nothing.
pub(super) fn of(folder: &Path) -> Vec<String> {
    let items = match fs::read_dir(folder) {
        // It is made when it is needed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![record::no_folder(folder, &error)],
        Ok(items) => items,
    };
    let mut troubles = Vec::new();
    if let Err(error) = access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        troubles.push(record::no_folder(folder, &error.into()));
    }
    for item in items {
        let path = match item {
            Ok(item) if record::is_named_so(&item.file_name().to_string_lossy()) => item.path(),
            Ok(_) => continue,
            Err(error) => {
                troubles.push(record::no_folder(folder, &error));
                break;
            }
        };
        match record::peek(&path) {
            // A guard may be done with it between the two calls.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                troubles.push(record::unreadable(&path, &error));
            }
            _ => {}
        }
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_understood_is_trouble() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("pauses");
        assert_eq!(of(&folder), [""; 0]);
        fs::create_dir(&folder).unwrap();
        // Empty or cut off: nothing was held. Not named like a record: nobody's.
        for (name, text) in [
            ("pause-empty", ""),
            ("pause-cut", "{\"task\":"),
            ("notes", "x\n"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        assert_eq!(of(&folder), [""; 0]);
        fs::write(folder.join("pause-damaged"), "{}\n").unwrap();
        fs::create_dir(folder.join("command-folder")).unwrap();
        let mut troubles = of(&folder);
        troubles.sort();
        let [one, other] = &troubles[..] else {
            panic!("{troubles:?}");
        };
        assert!(one.contains("pauses/command-folder"), "{one}");
        assert!(other.contains("pauses/pause-damaged"), "{other}");
    }

    #[test]
    fn a_place_that_is_no_folder_is_named() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("pauses");
        fs::write(&folder, "").unwrap();
        let troubles = of(&folder);
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].contains("pauses"), "{troubles:?}");
        assert!(troubles[0].contains("directory"), "{troubles:?}");
    }
}
