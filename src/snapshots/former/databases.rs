//! The databases of the first generation that lie beside the index.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::records::{self, Record};
use super::{FIRST_GENERATION, is_bolt};
use crate::sys::flock::Flock;

/// Where to look for them.
#[derive(Debug)]
pub(in crate::snapshots) struct FormerDatabases {
    db_file: PathBuf,
    last: Mutex<Option<(Vec<Stamp>, Arc<Knowledge>)>>,
}

/// What they say, taken together.
#[derive(Debug, Default)]
pub(in crate::snapshots) struct Knowledge {
    records: HashMap<Uuid, Record>,
    /// Ids of which two files say different things.
    disputed: HashSet<Uuid>,
    /// What could not be read, in words.
    pub(in crate::snapshots) faults: Vec<String>,
    /// A file that the first generation has open: it is running, and may change it.
    pub(in crate::snapshots) in_use: Option<PathBuf>,
}

/// What they say of one snapshot.
#[derive(Debug)]
pub(in crate::snapshots) enum Word<'k> {
    /// Its record.
    Known(&'k Record),
    /// Two records that differ.
    Disputed,
    /// Nothing.
    Unknown,
}

/// One state of one file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Knowledge {
    pub(in crate::snapshots) fn of(&self, id: Uuid) -> Word<'_> {
        match self.records.get(&id) {
            _ if self.disputed.contains(&id) => Word::Disputed,
            Some(record) => Word::Known(record),
            None => Word::Unknown,
        }
    }

    fn learn(&mut self, record: Record) {
        match self.records.get(&record.id) {
            Some(known) if *known != record => {
                self.disputed.insert(record.id);
            }
            _ => {
                self.records.insert(record.id, record);
            }
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let file = open(path)?;
        // BoltDB holds this lock for as long as it has the file open.
        let Some(_lock) = Flock::try_exclusive(file.try_clone()?)? else {
            self.in_use = Some(path.to_owned());
            return Ok(());
        };
        match records::read(file) {
            Err(error) => self.faults.push(format!("{}: {error}", path.display())),
            Ok(found) => {
                let faults = found.faults.into_iter();
                self.faults
                    .extend(faults.map(|fault| format!("{}: {fault}", path.display())));
                for record in found.records.into_values() {
                    self.learn(record);
                }
            }
        }
        Ok(())
    }
}

impl FormerDatabases {
    /// Those that `db_file` was, or still is.
    pub(in crate::snapshots) fn beside(db_file: &Path) -> FormerDatabases {
        FormerDatabases {
            db_file: db_file.to_owned(),
            last: Mutex::default(),
        }
    }

    /// Reads them, unless they are what they were the last time.
    pub(in crate::snapshots) fn read(&self) -> Arc<Knowledge> {
        let files = self.files();
        let stamps: Vec<Stamp> = files.iter().filter_map(|path| stamp(path).ok()).collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, knowledge)) = last.as_ref()
            && *known == stamps
        {
            return knowledge.clone();
        }
        let mut knowledge = Knowledge::default();
        for path in files {
            if let Err(error) = knowledge.read(&path) {
                knowledge
                    .faults
                    .push(format!("{}: {error}", path.display()));
            }
        }
        for fault in &knowledge.faults {
            tracing::warn!("a database of the first generation: {fault}");
        }
        let knowledge = Arc::new(knowledge);
        // Whoever has it open may end without a change to it.
        *last = knowledge
            .in_use
            .is_none()
            .then(|| (stamps, knowledge.clone()));
        knowledge
    }

    /// `<db_file>.first-generation`, `…-1` and so on; and `db_file` itself before the first start.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if is_bolt(&self.db_file).is_ok_and(|is_bolt| is_bolt) {
            files.push(self.db_file.clone());
        }
        let (Some(parent), Some(name)) = (self.db_file.parent(), self.db_file.file_name()) else {
            return files;
        };
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let beginning = format!("{}.{FIRST_GENERATION}", name.to_string_lossy());
        let mut aside: Vec<PathBuf> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|item| {
                let name = item.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix(&beginning));
                number.is_some_and(|number| {
                    number.is_empty()
                        || number
                            .strip_prefix('-')
                            .is_some_and(|number| number.parse::<u32>().is_ok())
                })
            })
            .map(|item| item.path())
            .collect();
        aside.sort();
        files.extend(aside);
        files
    }
}

/// Regular files only: a pipe would block.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        path: path.to_owned(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}
