//! Puts all files in their place, or none.
//!
//! They are written in a hidden folder, `.init-unfinished`, which is then renamed `.init-complete`:
//! from that moment on they all will be in their place, put there by this run or by the next one.
//! Before it, none is. A file gets its place by a link, which replaces nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::durable;

const UNFINISHED: &str = ".init-unfinished";
const COMPLETE: &str = ".init-complete";

/// A file to be made.
#[derive(Debug)]
pub(super) struct NewFile {
    /// Its place, in the folder itself.
    pub(super) path: PathBuf,
    /// Its permissions.
    pub(super) mode: u32,
    /// What is in it.
    pub(super) content: String,
}

/// Files that are written out and wait for their place.
#[derive(Debug)]
#[must_use]
pub(super) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Does what an interrupted run left: puts its files in place if it had them all, else removes
    /// what it had.
    pub(super) fn finish_left(directory: &Path) -> io::Result<()> {
        remove(&directory.join(UNFINISHED))?;
        if directory.join(COMPLETE).is_dir() {
            let directory = directory.to_owned();
            Stage { directory }.put_in_place()?;
        }
        Ok(())
    }

    /// Writes the files out, none of them in its place.
    pub(super) fn write(directory: &Path, files: &[NewFile]) -> io::Result<Stage> {
        let hidden = directory.join(UNFINISHED);
        DirBuilder::new().mode(0o700).create(&hidden)?;
        let written = write_all(&hidden, files)
            .and_then(|()| fs::rename(&hidden, directory.join(COMPLETE)))
            .and_then(|()| durable::sync_directory(directory));
        if let Err(error) = written {
            let _ = remove(&hidden);
            return Err(error);
        }
        Ok(Stage {
            directory: directory.to_owned(),
        })
    }

    /// Gives each file its place, in the order of their numbers; one that is there stays.
    pub(super) fn put_in_place(self) -> io::Result<()> {
        let hidden = self.directory.join(COMPLETE);
        let mut names: Vec<String> = fs::read_dir(&hidden)?
            .map(|item| item.map(|item| item.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for staged in names {
            let Some((_, name)) = staged.split_once('-') else {
                continue;
            };
            match fs::hard_link(hidden.join(&staged), self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        durable::sync_directory(&self.directory)?;
        remove(&hidden)?;
        durable::sync_directory(&self.directory)
    }
}

fn write_all(hidden: &Path, files: &[NewFile]) -> io::Result<()> {
    for (number, file) in files.iter().enumerate() {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(hidden.join(format!("{number}-{name}")))?;
        written.write_all(file.content.as_bytes())?;
        // Whatever the umask is.
        written.set_permissions(fs::Permissions::from_mode(file.mode))?;
        written.sync_all()?;
    }
    File::open(hidden)?.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> Vec<NewFile> {
        ["b-key.pem", "a.pem"]
            .map(|name| NewFile {
                path: directory.join(name),
                mode: 0o644,
                content: format!("new {name}"),
            })
            .into()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_interrupted_run_is_finished_or_undone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        // Before the moment from which on the files count.
        fs::create_dir(directory.join(UNFINISHED)).unwrap();
        fs::write(directory.join(UNFINISHED).join("0-b-key.pem"), "half").unwrap();
        Stage::finish_left(directory).unwrap();
        assert!(names(directory).is_empty());
        // After it.
        let _ = Stage::write(directory, &files(directory)).unwrap();
        assert_eq!(names(directory), [COMPLETE]);
        fs::write(directory.join("a.pem"), "somebody's").unwrap();
        Stage::finish_left(directory).unwrap();
        assert_eq!(names(directory), ["a.pem", "b-key.pem"]);
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(read("a.pem"), "somebody's");
        assert_eq!(read("b-key.pem"), "new b-key.pem");
    }

    #[test]
    fn a_failed_run_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut twice = files(folder.path());
        // A name that cannot be: the second file fails.
        twice[1].path = folder.path().join("x".repeat(300));
        assert!(Stage::write(folder.path(), &twice).is_err());
        assert!(names(folder.path()).is_empty());
    }
}
