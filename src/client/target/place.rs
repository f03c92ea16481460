//! Where a file may lie.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::failure::invalid;

/// The one directory of a repository that is the daemon's.
const SNAPSHOTS: &str = "CoriolisSnapshots";

/// A disk's name as the name of a file. It comes from elsewhere: it must not lead out of a
/// directory, nor be that of a file which is kept beside replicas.
pub(crate) fn file_name(disk: &str) -> io::Result<&str> {
    let mut parts = Path::new(disk).components();
    let is_name = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(name)), None) if name == disk
    ) && !disk.contains('\0');
    let ends = [".partial", ".diff", ".new"];
    let is_ours = disk.starts_with(".ovm-exporter-")
        || (disk.starts_with('.') && ends.iter().any(|end| disk.ends_with(end)));
    if is_name && !is_ours {
        return Ok(disk);
    }
    Err(invalid(format!(
        "{disk:?} cannot be the name of a file{}; name a target for this disk",
        if is_ours { " beside ours" } else { "" }
    )))
}

/// The path with a directory that is what it is called: a symbolic link that leads elsewhere the next
/// time makes another path. The last part stays: it may be a device's name that lasts.
///
/// # Errors
/// Where the working directory is needed, and gone.
pub(crate) fn settled(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path);
    };
    // Of one that is not there, opening tells more.
    Ok(fs::canonicalize(folder).map_or_else(|_| path.clone(), |folder| folder.join(name)))
}

/// # Errors
/// [`io::ErrorKind::InvalidInput`] among a repository's snapshots.
pub(super) fn is_not_among_snapshots(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path).or_else(|_| settled(path))?;
    if path.components().any(|part| part.as_os_str() == SNAPSHOTS) {
        return Err(invalid(format!(
            "{}: it lies among the snapshots of a repository; name another place",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_disks_name_does_not_lead_elsewhere() {
        for name in [
            "System.img",
            "a b",
            "..a b.img",
            ".hidden",
            "ü#?%",
            "a.partial",
        ] {
            assert_eq!(file_name(name).unwrap(), name);
        }
        for name in [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "a/b",
            "../a",
            "a/",
            "./a",
            "a\0b",
            ".ovm-exporter-web.json",
            ".ovm-exporter-web.json.lock",
            ".a.img.partial",
            ".a.img.diff",
            "..ovm-exporter-web.json.new",
        ] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }
}
