//! What the files of a snapshot are called.

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest;

/// A name for each disk: its file's base name, and `<stem>-<first 8 hex of SHA-256 of the
/// path><ext>` for every one of those that share a base name. Independent of the order of disks.
/// A path given twice is one disk and gets one name.
///
/// ```
/// use coriolis_ovm_exporter::snapshots::disk_names;
/// use std::path::Path;
///
/// let names = disk_names(&[Path::new("/r/a/System.img"), Path::new("/r/data.img")]);
/// assert_eq!(names, ["System.img", "data.img"]);
/// let names = disk_names(&[Path::new("/r/a/System.img"), Path::new("/r/b/System.img")]);
/// assert_eq!(names, ["System-e002c648.img", "System-89f1a519.img"]);
/// ```
#[must_use]
pub fn disk_names(paths: &[&Path]) -> Vec<String> {
    let mut owners: HashMap<String, Vec<&Path>> = HashMap::new();
    for path in paths {
        let sharing = owners.entry(base_name(path)).or_default();
        if !sharing.contains(path) {
            sharing.push(path);
        }
    }
    paths
        .iter()
        .map(|path| {
            let base = base_name(path);
            let shared = owners.get(&base).is_some_and(|sharing| sharing.len() > 1);
            if shared || !manifest::is_plain_name(&base) {
                told_apart(path, &base)
            } else {
                base
            }
        })
        .collect()
}

/// Bytes of a base name that are kept beside the digest: a file name has at most 255.
const LONGEST: usize = 200;

fn base_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn told_apart(path: &Path, base: &str) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let short: String = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // A name of dots alone, or hidden, has nothing to show before its dot; one that fills a
    // directory entry leaves no room.
    let visible = base.trim_start_matches('.');
    let mut end = visible.len().min(LONGEST);
    while !visible.is_char_boundary(end) {
        end -= 1;
    }
    let visible = &visible[..end];
    match visible.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{short}.{extension}"),
        _ if visible.is_empty() => format!("disk-{short}"),
        _ => format!("{visible}-{short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        disk_names(&paths.iter().map(Path::new).collect::<Vec<_>>())
    }

    #[test]
    fn names_do_not_depend_on_the_order() {
        let forward = names(&["/r/a/System.img", "/r/b/System.img", "/r/c.img"]);
        let mut backward = names(&["/r/c.img", "/r/b/System.img", "/r/a/System.img"]);
        backward.reverse();
        assert_eq!(forward, backward);
        assert_ne!(forward[0], forward[1]);
        assert_eq!(forward[2], "c.img");
    }

    #[test]
    fn the_longest_names_stay_names() {
        let long = "ü".repeat(125);
        let names = names(&[&format!("/r/a/{long}.img"), &format!("/r/b/{long}.img")]);
        assert_ne!(names[0], names[1]);
        assert!(
            names.iter().all(|name| manifest::is_plain_name(name)),
            "{names:?}"
        );
    }

    #[test]
    fn one_path_twice_is_one_disk() {
        assert_eq!(names(&["/r/a.img", "/r/a.img"]), ["a.img", "a.img"]);
    }

    #[test]
    fn names_that_are_ours_or_hidden_are_changed() {
        for path in [
            "/r/manifest.json",
            "/r/.hidden",
            "/r/..",
            "/",
            "/r/.manifest.json.new",
        ] {
            let name = &names(&[path])[0];
            assert!(manifest::is_plain_name(name), "{path} → {name}");
        }
    }
}
