//! This node's index of the manifests that lie on its repositories (SQLite).
//!
//! Nothing here is the truth: each row says what a manifest file said when it had a given
//! [`Stamp`]. The index can be thrown away at any time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
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
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Index {
    connection: Connection,
    /// Why it is kept in memory instead of its file.
    in_memory: Option<String>,
}

/// What `PRAGMA application_id` says of an index, whatever its schema: "covm".
const APPLICATION: i64 = 0x636F_766D;
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
    PRAGMA application_id = 0x636F766D;
";

impl Catalog {
    /// Opens the index, making it where there is none. One of another schema is emptied: it is
    /// filled again from the repositories.
    ///
    /// # Errors
    /// [`SnapshotError::CatalogShared`] on a cluster or network file system;
    /// [`SnapshotError::CatalogForeign`] for somebody else's file; SQLite's own.
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
        let failed = |source| SnapshotError::Catalog {
            path: path.to_owned(),
            source,
        };
        let index = match connection {
            Ok(None) => {
                return Err(SnapshotError::CatalogForeign {
                    path: path.to_owned(),
                });
            }
            Ok(Some(connection)) => Index {
                connection,
                in_memory: None,
            },
            // A full or sick disk must not keep the node from being served.
            Err(error) if is_of_the_disk(&error) => {
                let as_it_is = format!("file:{}?immutable=1", path.display());
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                let connection = Connection::open_with_flags(as_it_is, flags)
                    .or_else(|_| Connection::open_in_memory())
                    .map_err(failed)?;
                let mut index = Index {
                    connection,
                    in_memory: None,
                };
                index.move_to_memory(path, &error);
                if index.in_memory.is_none() {
                    return Err(failed(error));
                }
                index
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Catalog {
            path: path.to_owned(),
            index: Mutex::new(index),
        })
    }

    fn with<T>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SnapshotError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match work(&index.connection) {
            Err(error) if index.in_memory.is_none() && is_of_the_file(&error) => {
                index.move_to_memory(&self.path, &error);
                work(&index.connection)
            }
            other => other,
        };
        done.map_err(|source| SnapshotError::Catalog {
            path: self.path.clone(),
            source,
        })
    }

    /// Why the index is kept in memory until the next start, where its file fails.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.in_memory.clone()
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

impl Index {
    /// Goes on without the file. Nothing is lost with it: what lies on the repositories is read
    /// again; of one that is not mounted the rows are taken along where they can be read.
    fn move_to_memory(&mut self, path: &Path, error: &rusqlite::Error) {
        let moved = Connection::open_in_memory().and_then(|memory| {
            memory.execute_batch(SCHEMA)?;
            if let Err(unread) = copy_rows(&self.connection, &memory) {
                tracing::warn!(
                    "not every row of {} could be read: {unread}",
                    path.display()
                );
            }
            Ok(memory)
        });
        let Ok(memory) = moved else { return };
        let reason = format!(
            "the snapshot index {} fails ({error}) and is kept in memory until the next start: \
             make room, or mend what is wrong, and start the daemon again",
            path.display()
        );
        tracing::error!("{reason}");
        self.connection = memory;
        self.in_memory = Some(reason);
    }
}

/// Whether an error means that the file, not the question, is bad.
fn is_of_the_file(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::PermissionDenied
        )
    )
}

/// Whether an error says that the disk is full or sick.
fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}

fn copy_rows(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let mut rows =
        from.prepare("SELECT snapshot, repository, mount_point, vm, stamp, manifest FROM copy")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        to.execute(
            "INSERT OR REPLACE INTO copy VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, String>(4)?,
                row.get::<_, Vec<u8>>(5)?,
            ],
        )?;
    }
    Ok(())
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

/// None for a database that is not ours, which is not changed.
fn open(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    if is_foreign(&connection)? {
        return Ok(None);
    }
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
    Ok(Some(connection))
}

/// Whether a database holds something, and nothing that an index has.
fn is_foreign(connection: &Connection) -> rusqlite::Result<bool> {
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let (all, ours): (i64, i64) = connection.query_row(
        "SELECT count(*), count(CASE WHEN name = 'copy' THEN 1 END) FROM sqlite_schema",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(application != APPLICATION && all > 0 && ours == 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_fails_is_left_for_memory_with_all_that_it_knew() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("exporter.db")).unwrap();
        let id = Uuid::new_v4();
        let copy = |repository: &str| Copy {
            repository: repository.to_owned(),
            mount_point: "/OVS/Repositories/r".into(),
            stamp: Stamp("1".to_owned()),
            manifest: serde_json::from_value(serde_json::json!({
                "version": 1, "id": id, "vm_id": "vm", "created_at": "2026-01-01T00:00:00Z",
                "state": "ready", "node": "n", "repositories": [], "disks": [],
            }))
            .unwrap(),
        };
        catalog.put(&copy("one")).unwrap();
        assert_eq!(catalog.trouble(), None);
        // From now on every write to the file fails as on a full disk.
        let index = catalog.index.lock().unwrap();
        let pages: i64 = index
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        index
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
        drop(index);
        for number in 0..200 {
            catalog.put(&copy(&format!("filler {number}"))).unwrap();
        }
        let trouble = catalog.trouble().expect("200 rows need more pages");
        assert!(trouble.contains("exporter.db"), "{trouble}");
        assert_eq!(catalog.copies(id).unwrap().len(), 201, "nothing was lost");
    }
}
