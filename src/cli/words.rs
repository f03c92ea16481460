//! Words on the command line that have one meaning everywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;

use crate::protocol::Refine;
use crate::protocol::delta::Compression;

/// Reads a way of refining.
pub fn refine(text: &str) -> Result<Refine, String> {
    Refine::of_name(text).ok_or_else(|| "it is one of none, auto, 4096".to_owned())
}

/// Reads a compression.
pub fn compression(text: &str) -> Result<Compression, String> {
    Compression::of_name(text).ok_or_else(|| "it is one of none, zstd, lz4, auto".to_owned())
}

/// Reads `NAME=PATH`.
pub fn placed(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("it is NAME=PATH".to_owned()),
    }
}

/// Where each disk is that was given so.
///
/// # Errors
/// For a disk that was given twice.
pub fn each_once(given: &[(String, PathBuf)]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut places = BTreeMap::new();
    for (name, path) in given {
        if let Some(other) = places.insert(name.clone(), path.clone()) {
            let (one, other) = (other.display(), path.display());
            bail!("--disk {name}: it is said to be at {one} and at {other}; give it once");
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_needs_both_sides() {
        assert_eq!(
            placed("a.img=/dev/sdb"),
            Ok(("a.img".into(), "/dev/sdb".into()))
        );
        for bad in ["a.img", "=/dev/sdb", "a.img="] {
            assert!(placed(bad).is_err());
        }
    }

    #[test]
    fn a_disk_has_one_place() {
        let given = ["a=/x", "b=/x", "a=/y"].map(|text| placed(text).unwrap());
        assert_eq!(each_once(&given[..2]).unwrap().len(), 2);
        let error = each_once(&given).unwrap_err().to_string();
        assert!(error.contains("/x") && error.contains("/y"), "{error}");
    }
}
