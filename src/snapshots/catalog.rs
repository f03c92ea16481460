//! This node's index of the manifests that lie on its repositories (SQLite).
//!
//! Nothing here is the truth: each row says what a manifest file said when it had a given
//! [`Stamp`]. The index can be thrown away at any time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::SnapshotError;
use super::former;
use super::manifest::Manifest;
use super::shelf::Stamp;
use crate::sys::file_system;

/// One copy of a manifest, as it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The repository that holds it.
    pub repository: String,
    /// Where that was mounted.
    pub mount_point: PathBuf,
    /// Which state of the file this is.
    pub stamp: Stamp,
    /// What it said.
    pub manifest: Manifest,
}

/// The index.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// What `PRAGMA user_version` says of the schema below.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE copy (
        snapshot    TEXT NOT NULL,
        repository  TEXT NOT NULL,
        mount_point TEXT NOT NULL,
        vm          TEXT NOT NULL,
        stamp       TEXT NOT NULL,
        manifest    BLOB NOT NULL,
        PRIMARY KEY (snapshot, repository)
    ) WITHOUT ROWID;
    CREATE INDEX copy_by_vm ON copy (vm);
    PRAGMA user_version = 1;
";

impl Catalog {
    /// Opens the index, making it where there is none. One of another schema is emptied: it is
    /// filled again from the repositories.
    ///
    /// # Errors
    /// [`SnapshotError::CatalogShared`] on a cluster or network file system; SQLite's own.
    pub fn open(path: &Path) -> Result<Catalog, SnapshotError> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let kind = File::open(directory)
            .and_then(|directory| file_system::status(&directory))
            .map_err(SnapshotError::io(
                "cannot keep the snapshot index in",
                directory,
            ))?
            .kind;
        if kind.is_shared() {
            return Err(SnapshotError::CatalogShared {
                path: path.to_owned(),
                file_system: kind.to_string(),
            });
        }
        former::make_way(path)?;
        let connection = match open(path) {
            Err(error) if former::is_damage(&error) => {
                former::set_aside(path, former::DAMAGED)?;
                open(path)
            }
            other => other,
        };
        let connection = connection.map_err(|source| SnapshotError::Catalog {
            path: path.to_owned(),
            source,
        })?;
        Ok(Catalog {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut MutexGuard<'_, Connection>) -> rusqlite::Result<T>,
    ) -> Result<T, SnapshotError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|source| SnapshotError::Catalog {
            path: self.path.clone(),
            source,
        })
    }

    /// The copies of one snapshot's manifest.
    ///
    /// # Errors
    /// SQLite's.
    pub fn copies(&self, snapshot: Uuid) -> Result<Vec<Copy>, SnapshotError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT repository, mount_point, stamp, manifest FROM copy WHERE snapshot = ?1",
                )?
                .query_map([snapshot.to_string()], |row| copy_of(snapshot, row))?
                .filter_map(Result::transpose)
                .collect()
        })
    }

    /// The ids of all snapshots, or of one VM's.
    ///
    /// # Errors
    /// SQLite's.
    pub fn snapshots(&self, vm: Option<&str>) -> Result<Vec<Uuid>, SnapshotError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT DISTINCT snapshot FROM copy WHERE ?1 IS NULL OR vm = ?1")?
                .query_map([vm], |row| row.get::<_, String>(0))?
                .filter_map(|id| id.map(|id| Uuid::try_parse(&id).ok()).transpose())
                .collect()
        })
    }

    /// Every copy known to lie in a repository. A row that does not hold a manifest is left out,
    /// so that its file is read again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn in_repository(&self, repository: &str) -> Result<Vec<Copy>, SnapshotError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT repository, mount_point, stamp, manifest, snapshot FROM copy
                     WHERE repository = ?1",
                )?
                .query_map([repository], |row| {
                    let id: String = row.get(4)?;
                    match Uuid::try_parse(&id) {
                        Ok(id) => copy_of(id, row),
                        Err(_) => Ok(None),
                    }
                })?
                .filter_map(Result::transpose)
                .collect()
        })
    }

    /// Records what a copy says.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put(&self, copy: &Copy) -> Result<(), SnapshotError> {
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO copy VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![
                    copy.manifest.id.to_string(),
                    copy.repository,
                    copy.mount_point.to_string_lossy(),
                    copy.manifest.vm_id,
                    copy.stamp.0,
                    copy.manifest.to_bytes(),
                ])
                .map(drop)
        })
    }

    /// Forgets a copy.
    ///
    /// # Errors
    /// SQLite's.
    pub fn forget(&self, snapshot: Uuid, repository: &str) -> Result<(), SnapshotError> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM copy WHERE snapshot = ?1 AND repository = ?2")?
                .execute(params![snapshot.to_string(), repository])
                .map(drop)
        })
    }
}

/// None for a row that does not hold a manifest: it is read again from its file.
fn copy_of(snapshot: Uuid, row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Copy>> {
    let bytes: Vec<u8> = row.get(3)?;
    let Ok(manifest) = Manifest::parse(&bytes, snapshot) else {
        return Ok(None);
    };
    Ok(Some(Copy {
        repository: row.get(0)?,
        mount_point: PathBuf::from(row.get::<_, String>(1)?),
        stamp: Stamp(row.get(2)?),
        manifest,
    }))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The index can be rebuilt: losing its last rows to a power cut costs a directory listing.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA_VERSION {
        connection.execute_batch("BEGIN")?;
        drop_all(&connection)?;
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch("COMMIT")?;
    }
    // What is cut off or overwritten further behind would show only when it is read.
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(verdict)));
    }
    Ok(connection)
}

/// Whatever another release has in its schema.
fn drop_all(connection: &Connection) -> rusqlite::Result<()> {
    let names = connection
        .prepare(
            "SELECT type, name FROM sqlite_schema
             WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*'",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    for (kind, name) in names {
        let name = name.replace('"', "\"\"");
        connection.execute_batch(&format!("DROP {kind} \"{name}\""))?;
    }
    Ok(())
}
