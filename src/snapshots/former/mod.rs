//! What stands where the index goes: a database of the first generation, a damaged index, or
//! somebody else's file. None is ever overwritten.

pub mod bolt;
mod databases;
pub mod records;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::error::SnapshotError;
pub(super) use databases::{FormerDatabases, Knowledge, Word};

/// Suffix of a database of the first generation that was set aside.
const FIRST_GENERATION: &str = "first-generation";
/// Suffix of an index that SQLite cannot read.
pub(super) const DAMAGED: &str = "damaged";

const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Of a BoltDB meta page, little endian, behind the page's header of 16 bytes.
const BOLT_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();

/// How much of a file is looked at, bytes.
const HEAD: u64 = 512;

/// Sets a BoltDB file aside, and what may have been an index once, so that one can be made under its
/// name.
///
/// # Errors
/// [`SnapshotError::CatalogForeign`] for text, which no index can turn into: `db_file` is set to a
/// wrong path then, and what needs that file must find it; the file system's.
pub(super) fn make_way(path: &Path) -> Result<(), SnapshotError> {
    let head = match head_of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(SnapshotError::io("cannot read", path))?,
    };
    // SQLite takes an empty file for a new database.
    let is_ours = head.starts_with(SQLITE_MAGIC) || SQLITE_MAGIC.starts_with(&head);
    // A power cut can leave a file whose size is right and whose bytes are none.
    let is_blank = !head.is_empty() && head.iter().all(|byte| *byte == 0);
    if is_blank || (is_ours && !head.is_empty() && head.len() < SQLITE_MAGIC.len()) {
        return set_aside(path, DAMAGED);
    }
    if is_ours {
        return Ok(());
    }
    if has_bolt_magic(&head) {
        return set_aside(path, FIRST_GENERATION);
    }
    if is_text(&head) {
        return Err(SnapshotError::CatalogForeign {
            path: path.to_owned(),
        });
    }
    set_aside(path, DAMAGED)
}

/// Whether something lies under `db_file`'s name that is nobody's database: it is left alone, and the
/// daemon does not start.
///
/// # Errors
/// The file system's.
pub fn is_foreign(path: &Path) -> io::Result<bool> {
    let head = head_of(path)?;
    Ok(!SQLITE_MAGIC.starts_with(&head) && !head.starts_with(SQLITE_MAGIC) && is_text(&head))
}

/// Whether it begins like something that people write.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut off at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && text
            .chars()
            .all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

fn has_bolt_magic(head: &[u8]) -> bool {
    head.get(16..20) == Some(&BOLT_MAGIC)
}

/// Whether a file looks like a database of the first generation.
fn is_bolt(path: &Path) -> io::Result<bool> {
    head_of(path).map(|head| has_bolt_magic(&head))
}

/// Whether an error means that the file itself is bad, so that a new one helps.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Renames a file to `<name>.<suffix>`, or to the first free `<name>.<suffix>-N`. What SQLite
/// keeps beside it goes too.
pub(super) fn set_aside(path: &Path, suffix: &str) -> Result<(), SnapshotError> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    for number in 0.. {
        let target = aside(number);
        // A link fails where there is a file; a rename would replace it.
        match fs::hard_link(path, &target) {
            Ok(()) => {
                fs::remove_file(path).map_err(SnapshotError::io("cannot set aside", path))?;
                for beside in ["-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(beside);
                    let _ = fs::remove_file(name);
                }
                tracing::warn!("{} was set aside as {}", path.display(), target.display());
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SnapshotError::io("cannot set aside", path)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::super::catalog::Catalog;
    use super::*;

    fn bolt() -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[16..20].copy_from_slice(&BOLT_MAGIC);
        page
    }

    #[test]
    fn a_first_generation_database_is_set_aside_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.db");
        for name in [
            "exporter.db.first-generation",
            "exporter.db.first-generation-1",
        ] {
            fs::write(&path, bolt()).unwrap();
            Catalog::open(&path).unwrap();
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), bolt());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_damaged_index_is_set_aside_and_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.db");
        drop(Catalog::open(&path).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[16..].fill(0xA5);
        fs::write(&path, &bytes).unwrap();
        let catalog = Catalog::open(&path).unwrap();
        assert!(catalog.snapshots(None).unwrap().is_empty());
        assert_eq!(
            fs::read(folder.path().join("exporter.db.damaged")).unwrap(),
            bytes
        );
    }

    /// As a sick disk leaves it.
    #[test]
    fn what_may_have_been_an_index_is_set_aside_and_made_anew() {
        let mut noise = [0; 5000];
        StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        for bytes in [&noise[..], &[0; 5000], &[0xA5; 40], b"text\0then none"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("exporter.db");
            fs::write(&path, bytes).unwrap();
            let catalog = Catalog::open(&path).unwrap();
            assert!(catalog.snapshots(None).unwrap().is_empty());
            let aside = folder.path().join("exporter.db.damaged");
            assert_eq!(fs::read(aside).unwrap(), bytes);
        }
    }

    /// A wrong `db_file`, the path of the configuration for example, must not take away what others
    /// need.
    #[test]
    fn a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.db");
        let database = folder.path().join("somebody's.db");
        rusqlite::Connection::open(&database)
            .and_then(|other| {
                other.execute_batch("CREATE TABLE notes (a); INSERT INTO notes VALUES (1)")
            })
            .unwrap();
        let cut = "ä".repeat(300);
        for bytes in [
            b"# somebody's notes, longer than any header\n".to_vec(),
            cut.as_bytes()[..511].to_vec(),
            fs::read(&database).unwrap(),
        ] {
            fs::write(&path, &bytes).unwrap();
            let error = Catalog::open(&path).unwrap_err();
            assert!(
                matches!(error, SnapshotError::CatalogForeign { .. }),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_shared_file_system_is_refused_by_its_kind() {
        // No cluster file system can be mounted here; the rule itself is a pure function.
        use crate::sys::file_system::Kind;
        assert!(Kind::Ocfs2.is_shared() && Kind::Nfs.is_shared());
        assert!(!Kind::Xfs.is_shared() && !Kind::Other(0xEF53).is_shared());
    }
}
