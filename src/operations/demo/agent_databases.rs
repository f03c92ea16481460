//! Writes an agent's databases with the real libdb, for a node that has no agent.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::ovm::agent::AgentRepository;

/// Debian's name of libdb's loader.
const DB_LOAD: &str = "db5.3_load";

/// Why the databases could not be written.
#[derive(Debug, Error)]
pub enum AgentDatabasesError {
    /// The loader is not installed.
    #[error("{DB_LOAD} is not installed: it comes with the Debian package db5.3-util")]
    LoaderMissing,
    /// The loader refused.
    #[error("{DB_LOAD} could not write {}: {said}", path.display())]
    Loader {
        /// The database file.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// The operating system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Writes `repository` and `server` into `dir`, which is made if it is missing. Existing files are
/// replaced whole. Values are pickled as Python 2 does with protocol 0.
///
/// # Errors
/// When the loader is missing or fails, or the folder cannot be written.
pub fn write(
    dir: &Path,
    repositories: &[AgentRepository],
    settings: &[(&str, &str)],
) -> Result<(), AgentDatabasesError> {
    fs::create_dir_all(dir).map_err(|source| AgentDatabasesError::Io {
        path: dir.to_owned(),
        source,
    })?;
    let repositories = repositories
        .iter()
        .map(|r| (r.id.as_bytes(), pickle_repository(r)));
    load(&dir.join("repository"), repositories)?;
    let settings = settings.iter().map(|(name, value)| {
        let mut pickle = pickle_str(value, 0);
        pickle.push(b'.');
        (name.as_bytes(), pickle)
    });
    load(&dir.join("server"), settings)
}

/// Makes a hash file beside `path` and puts it in its place.
fn load<'a>(
    path: &Path,
    records: impl Iterator<Item = (&'a [u8], Vec<u8>)>,
) -> Result<(), AgentDatabasesError> {
    let failed = |source| AgentDatabasesError::Io {
        path: path.to_owned(),
        source,
    };
    let mut dump = b"VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n".to_vec();
    for (key, value) in records {
        for bytes in [key, &value] {
            dump.push(b' ');
            dump.extend(
                bytes
                    .iter()
                    .flat_map(|byte| format!("{byte:02x}").into_bytes()),
            );
            dump.push(b'\n');
        }
    }
    dump.extend_from_slice(b"DATA=END\n");

    // The loader adds to a file that exists, so it gets a new one.
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut child = Command::new(DB_LOAD)
        .arg(&new)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AgentDatabasesError::LoaderMissing,
            _ => failed(error),
        })?;
    // When the loader gives up early the pipe breaks; what it says then is the better message.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(&dump));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(AgentDatabasesError::Loader {
            path: path.to_owned(),
            said,
        });
    }
    written.unwrap_or(Ok(())).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

fn pickle_repository(repository: &AgentRepository) -> Vec<u8> {
    let mount_point = repository
        .mount_point
        .as_ref()
        .map(|path| path.to_string_lossy());
    let fields = [
        ("alias", repository.alias.as_deref()),
        ("mount_point", mount_point.as_deref()),
        ("manager_uuid", repository.manager_uuid.as_deref()),
        ("version", repository.version.as_deref()),
        ("filesystem", repository.filesystem.as_deref()),
        ("fs_location", repository.fs_location.as_deref()),
    ];
    let mut pickle = b"(dp0\n".to_vec();
    let mut memo = 1;
    for (name, value) in fields {
        let Some(value) = value else { continue };
        pickle.extend(pickle_str(name, memo));
        pickle.extend(pickle_str(value, memo + 1));
        pickle.push(b's');
        memo += 2;
    }
    pickle.push(b'.');
    pickle
}

/// A Python 2 `str` in protocol 0: its `repr`, and a place in the memo.
fn pickle_str(text: &str, memo: u32) -> Vec<u8> {
    let mut pickle = b"S'".to_vec();
    for byte in text.bytes() {
        match byte {
            b'\\' | b'\'' => pickle.extend([b'\\', byte]),
            b' '..=b'~' => pickle.push(byte),
            byte => pickle.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    pickle.extend(format!("'\np{memo}\n").into_bytes());
    pickle
}
