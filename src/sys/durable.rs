//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

/// Nobody but the owner reads it.
const PRIVATE: u32 = 0o600;

/// Makes the names in a directory durable.
///
/// # Errors
/// The kernel's.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The name under which [`write_beside`] writes.
#[must_use]
pub fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

/// Content that is written out and waits beside its place.
#[derive(Debug)]
#[must_use]
pub struct Beside {
    directory: PathBuf,
    name: String,
}

/// Writes `content` beside `directory/name` and out to the device. A reader of that name sees what
/// was there before, until [`Beside::put_in_place`].
///
/// # Errors
/// The kernel's; nothing is left beside then.
pub fn write_beside(directory: &Path, name: &str, content: &[u8]) -> io::Result<Beside> {
    write_beside_as(directory, name, content, PRIVATE)
}

/// The same as [`write_beside`], for others to read too: with this mode, whatever the process's mask.
///
/// # Errors
/// As of [`write_beside`].
pub fn write_beside_as(
    directory: &Path,
    name: &str,
    content: &[u8],
    mode: u32,
) -> io::Result<Beside> {
    write(directory, name, content, mode)
        .and_then(|(beside, file)| file.sync_all().map(|()| beside))
        .inspect_err(|_| remove_temporary(directory, name))
}

/// The same for two files of a directory. They go out to the device at the same time: a journal takes
/// both along at once.
///
/// # Errors
/// The kernel's; nothing is left beside then.
pub fn write_both_beside(directory: &Path, files: [(&str, &[u8]); 2]) -> io::Result<[Beside; 2]> {
    let [one, other] = files;
    let written = || {
        let (one, file) = write(directory, one.0, one.1, PRIVATE)?;
        let (other, other_file) = write(directory, other.0, other.1, PRIVATE)?;
        let (other_synced, synced) = meanwhile(|| other_file.sync_all(), || file.sync_all());
        synced.and(other_synced)?;
        Ok([one, other])
    };
    written().inspect_err(|_| {
        for (name, _) in files {
            remove_temporary(directory, name);
        }
    })
}

/// Writes out on a thread of its own while this one does something else.
///
/// # Panics
/// Where either does.
pub fn meanwhile<O: Send, T>(write_out: impl Fn() -> O + Sync, work: impl FnOnce() -> T) -> (O, T) {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("sync".to_owned())
            .spawn_scoped(scope, &write_out);
        let worked = work();
        let written_out = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // There is no thread to be had: one after the other.
            Err(_) => write_out(),
        };
        (written_out, worked)
    })
}

/// It is not on the device yet.
fn write(directory: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<(Beside, File)> {
    let temporary = directory.join(temporary(name));
    // A leftover of a crash: nobody reads it.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    let beside = Beside {
        directory: directory.to_owned(),
        name: name.to_owned(),
    };
    Ok((beside, file))
}

fn remove_temporary(directory: &Path, name: &str) {
    let _ = fs::remove_file(directory.join(temporary(name)));
}

impl Beside {
    /// Renames it over what is there, and makes that durable: a reader sees the old content or the
    /// new, never a part.
    ///
    /// # Errors
    /// The kernel's; the old content is still there where the rename fails.
    pub fn put_in_place(self) -> io::Result<()> {
        let directory = self.directory.clone();
        self.rename()?;
        sync_directory(&directory)
    }

    /// The same before it is durable: [`sync_directory`] makes it that, for several at once.
    ///
    /// # Errors
    /// The kernel's; the old content is still there then.
    pub fn rename(self) -> io::Result<()> {
        let temporary = self.directory.join(temporary(&self.name));
        fs::rename(&temporary, self.directory.join(&self.name)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }
}
