//! Who may read and change the daemon's own files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Loaded;
use super::finding::Finding;
use super::round::Notes;
use crate::config::secret;
use crate::operations::serve::PIN_FILE;
use crate::shell_word;

const CHECK: &str = "files";

/// What a file's permissions have to keep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// That nobody else reads it.
    Secret,
    /// That nobody else changes it.
    Truth,
    /// That nobody else changes what is in it, and better not look either.
    Folder,
}

pub(super) fn check(notes: &Notes, loaded: &Loaded) {
    let config = &loaded.config;
    let file = std::path::absolute(&loaded.file).unwrap_or_else(|_| loaded.file.clone());
    let holds_secret = match config.jwt.secret {
        Some(_) => Keeps::Secret,
        None => Keeps::Truth,
    };
    let mut list: Vec<(PathBuf, Keeps)> = vec![
        (file.clone(), holds_secret),
        (secret::kept_file(config), Keeps::Secret),
        (config.db_file.clone(), Keeps::Truth),
        (config.db_file.with_file_name(PIN_FILE), Keeps::Truth),
    ];
    list.extend(
        file.parent()
            .map(|folder| (folder.to_owned(), Keeps::Folder)),
    );
    let tls = &config.api.tls;
    list.extend(tls.key.clone().map(|key| (key, Keeps::Secret)));
    let public = [
        &tls.certificate,
        &tls.ca_certificate,
        &config.ovm_ca_certificate,
    ];
    list.extend(
        public
            .into_iter()
            .flatten()
            .map(|path| (path.clone(), Keeps::Truth)),
    );
    let mut looked_at = 0;
    let mut is_good = true;
    for (path, keeps) in list {
        notes.doing(format!("looking at {}", path.display()));
        // What is missing is somebody else's finding.
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        looked_at += 1;
        let us = nix::unistd::geteuid().as_raw();
        if let Some(finding) = judge(&path, keeps, found.mode(), found.uid(), us) {
            is_good = false;
            notes.found(finding.of(path.display()));
        }
    }
    if is_good {
        let message = format!("owner and mode of {looked_at} files and folders are right");
        notes.found(Finding::good(CHECK, message));
    }
}

/// What is wrong with a file of this mode and owner, for user `us`.
fn judge(path: &Path, keeps: Keeps, mode: u32, owner: u32, us: u32) -> Option<Finding> {
    let (word, bits) = (shell_word::of(path), mode & 0o777);
    let wanted = match keeps {
        Keeps::Secret => "600",
        Keeps::Truth => "go-w",
        Keeps::Folder => "700",
    };
    let advice = format!("chmod {wanted} {word}");
    if owner != 0 && owner != us {
        let message = format!("it belongs to user {owner}, who can change it");
        return Some(Finding::bad(CHECK, message, format!("chown root {word}")));
    }
    if mode & 0o022 != 0 {
        let message = format!("others can change it (mode {bits:04o})");
        return Some(Finding::bad(CHECK, message, advice));
    }
    match keeps {
        Keeps::Secret if mode & 0o004 != 0 => {
            let message =
                format!("every user of this node can read the secret in it (mode {bits:04o})");
            Some(Finding::bad(
                CHECK,
                message,
                format!("{advice}; then make a new secret"),
            ))
        }
        Keeps::Secret if mode & 0o040 != 0 => {
            let message = format!("its group can read the secret in it (mode {bits:04o})");
            Some(Finding::warning(CHECK, message, advice))
        }
        Keeps::Folder if mode & 0o077 != 0 => {
            let message = format!("others can look into it (mode {bits:04o})");
            Some(Finding::warning(CHECK, message, advice))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade::{self, Bad, Warning};
    use super::*;

    #[test]
    fn modes_and_owners() {
        let table: [(Keeps, u32, u32, Option<Grade>); 11] = [
            (Keeps::Secret, 0o600, 0, None),
            (Keeps::Secret, 0o400, 0, None),
            (Keeps::Secret, 0o640, 0, Some(Warning)),
            (Keeps::Secret, 0o604, 0, Some(Bad)),
            (Keeps::Truth, 0o644, 0, None),
            (Keeps::Truth, 0o664, 0, Some(Bad)),
            (Keeps::Truth, 0o646, 0, Some(Bad)),
            (Keeps::Truth, 0o600, 7, Some(Bad)),
            (Keeps::Folder, 0o700, 0, None),
            (Keeps::Folder, 0o755, 0, Some(Warning)),
            (Keeps::Folder, 0o777, 0, Some(Bad)),
        ];
        for (keeps, mode, owner, grade) in table {
            let found = judge(Path::new("f"), keeps, mode | 0o100_000, owner, 0);
            assert_eq!(found.map(|found| found.grade), grade, "{mode:o} {owner}");
        }
        assert!(judge(Path::new("f"), Keeps::Truth, 0o600, 7, 7).is_none());
    }
}
