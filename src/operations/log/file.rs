//! The log's file: appended to, renamed when it is full, and lost lines counted.
//!
//! Nothing here is an error that ends the daemon. What cannot be written goes to standard error, is
//! counted, and said in the log when that can be written again.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::backups::{self, Keep};
use super::notice::{Form, Notice};

/// How long to wait before what failed is tried again: opening, and renaming.
const AGAIN: Duration = Duration::from_secs(10);
/// How often to look for rotated logs that have become too old.
const LOOK: Duration = Duration::from_secs(3600);
/// Of a log that we make.
const MODE: u32 = 0o640;

/// When a log is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Bytes that it may have; 0: never rotated.
    pub(super) size: u64,
    pub(super) keep: Keep,
}

/// A log file, open or to be opened.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    form: Form,
    /// `None`: somebody else takes care of it.
    rotation: Option<Rotation>,
    open: Option<Open>,
    /// Not to be tried before: opening it, renaming it.
    next_open: Option<Instant>,
    next_rotation: Option<Instant>,
    next_look: Instant,
    lost: u64,
    /// What is to be said with the next line.
    notices: Vec<Notice>,
}

/// A line is not in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// Why, where it is the first one.
    pub(super) trouble: Option<String>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes in it, as far as we know.
    size: u64,
    /// It ends in the middle of a line.
    torn: bool,
}

impl LogFile {
    /// A log at `path`. That it cannot be opened is told, and tried again with later lines.
    pub(super) fn new(
        path: &Path,
        form: Form,
        rotation: Option<Rotation>,
    ) -> (Self, io::Result<()>) {
        let mut log = Self {
            path: path.to_owned(),
            form,
            rotation,
            open: None,
            next_open: None,
            next_rotation: None,
            next_look: Instant::now() + LOOK,
            lost: 0,
            notices: Vec::new(),
        };
        let opened = log.open();
        if opened.is_ok() {
            log.remove_surplus(Timestamp::now());
        }
        (log, opened)
    }

    /// The form of its lines.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When it is rotated.
    pub(super) fn rotation(&self) -> Option<Rotation> {
        self.rotation
    }

    /// Opens one that could not be opened, if it is time to try that again. True when it is open.
    pub(super) fn try_again(&mut self) -> bool {
        if self.is_early() || self.open().is_err() {
            return false;
        }
        self.remove_surplus(Timestamp::now());
        true
    }

    /// Whether somebody has removed the file that is written to.
    pub(super) fn is_nameless(&self) -> bool {
        let metadata = self.open.as_ref().map(|open| open.file.metadata());
        metadata.is_some_and(|found| found.is_ok_and(|found| found.nlink() == 0))
    }

    fn is_early(&self) -> bool {
        self.next_open.is_some_and(|next| Instant::now() < next)
    }

    /// Takes over what an earlier file of this log has lost.
    pub(super) fn succeed(&mut self, earlier: &mut LogFile) {
        self.lost += std::mem::take(&mut earlier.lost);
        self.notices.append(&mut earlier.notices);
    }

    /// Appends a line, which ends with its newline.
    ///
    /// # Errors
    /// That it has to go elsewhere, and why, where that begins.
    pub(super) fn append(&mut self, line: &[u8], now: Timestamp) -> Result<(), Unwritten> {
        self.rotate_if_full(line.len() as u64, now);
        if self.next_look <= Instant::now() {
            self.remove_surplus(now);
        }
        if self.open.is_none() && self.is_early() {
            self.lost += 1;
            return Err(Unwritten { trouble: None });
        }
        self.write(line).map_err(|error| {
            self.lost += 1;
            let first = self.lost == 1;
            let trouble = first
                .then(|| format!("{error}; the log goes to standard error until that is mended"));
            Unwritten { trouble }
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.open.is_none() {
            self.open()?;
        }
        let mut text = Vec::new();
        if self.open.as_ref().is_some_and(|open| open.torn) {
            text.push(b'\n');
        }
        for notice in &self.notices {
            notice.write(self.form, &mut text);
        }
        if self.lost > 0 {
            let notice = format!(
                "{} lines of the log before this one are lost here: standard error got them",
                self.lost
            );
            Notice::warning(notice).write(self.form, &mut text);
        }
        text.extend_from_slice(line);
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let written = open.append(&text);
        written.map_err(|error| self.named("cannot write to", &error))?;
        self.notices.clear();
        self.lost = 0;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let opened = open(&self.path, MODE).and_then(Open::new);
        self.next_open = opened.is_err().then(|| Instant::now() + AGAIN);
        self.open = Some(opened.map_err(|error| self.named("cannot open", &error))?);
        Ok(())
    }

    fn named(&self, what: &str, error: &io::Error) -> io::Error {
        let text = format!("{what} log_file {}: {error}", self.path.display());
        io::Error::new(error.kind(), text)
    }

    /// Renames it where this line would be too much, and begins another one.
    fn rotate_if_full(&mut self, more: u64, now: Timestamp) {
        let (Some(rotation), Some(open)) = (self.rotation, &mut self.open) else {
            return;
        };
        let full = |size: u64| rotation.size != 0 && size > 0 && size + more > rotation.size;
        if !full(open.size) || self.next_rotation.is_some_and(|next| Instant::now() < next) {
            return;
        }
        // Somebody may have emptied it, or it is no file at all.
        match open.file.metadata() {
            Ok(metadata) if metadata.is_file() => open.size = metadata.len(),
            _ => return,
        }
        if !full(open.size) {
            return;
        }
        let rotated = rotate(&self.path, open, now);
        self.next_rotation = rotated.is_err().then(|| Instant::now() + AGAIN);
        match rotated {
            Ok(()) => self.remove_surplus(now),
            Err(error) => {
                let text = format!(
                    "cannot rotate log_file {}: {error}; it grows on",
                    self.path.display()
                );
                self.notices.push(Notice::warning(text));
            }
        }
    }

    /// Removes rotated logs of which there are too many, or that are too old.
    fn remove_surplus(&mut self, now: Timestamp) {
        self.next_look = Instant::now() + LOOK;
        let Some(rotation) = self.rotation else {
            return;
        };
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        for surplus in backups::surplus(name, names, rotation.keep, now) {
            if let Err(error) = fs::remove_file(folder.join(&surplus)) {
                let surplus = folder.join(surplus);
                let text = format!(
                    "the old log {} cannot be removed: {error}",
                    surplus.display()
                );
                self.notices.push(Notice::warning(text));
            }
        }
    }
}

impl Open {
    fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            size,
            torn: false,
        })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let mut left = text;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(written) if written > 0 => {
                    self.size += written as u64;
                    self.torn = true;
                    left = &left[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) => return Err(error),
            }
        }
        self.torn = false;
        Ok(())
    }
}

/// Opens without waiting, be it a pipe that nobody reads.
fn open(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Gives the file another name, and begins a new one of the same owner and mode. Where that fails,
/// the old one has its name again.
fn rotate(path: &Path, open: &mut Open, now: Timestamp) -> io::Result<()> {
    let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path))?;
    let old = open.file.metadata()?;
    let ours = fs::symlink_metadata(&path)
        .is_ok_and(|named| (named.dev(), named.ino()) == (old.dev(), old.ino()));
    if !ours {
        // Somebody has moved it, and is about to say so.
        *open = Open::new(self::open(&path, old.mode() & 0o777)?)?;
        return Ok(());
    }
    let backup = free_name(&path, now)?;
    fs::rename(&path, &backup)?;
    match self::open(&path, old.mode() & 0o777).and_then(Open::new) {
        Ok(fresh) => {
            // What the process masks for new files, whoever reads this log may need.
            let mode = fs::Permissions::from_mode(old.mode() & 0o777);
            let _ = fresh.file.set_permissions(mode);
            // Where we are not root it is ours anyway.
            let _ = fchown(&fresh.file, Some(old.uid()), Some(old.gid()));
            *open = fresh;
            Ok(())
        }
        Err(error) => {
            let _ = fs::rename(&backup, &path);
            Err(error)
        }
    }
}

/// A name that nothing has yet.
fn free_name(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let log = path.file_name().unwrap_or_default();
    (0..100)
        .filter_map(|milliseconds| now.checked_add(Duration::from_millis(milliseconds)).ok())
        .filter_map(|at| -> Option<OsString> { backups::name(log, at) })
        .map(|name| path.with_file_name(name))
        .find(|backup| fs::symlink_metadata(backup).is_err())
        .ok_or_else(|| io::Error::other("there is no name left for it"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
