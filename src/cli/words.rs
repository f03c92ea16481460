//! Words on the command line that have one meaning everywhere.

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
pub fn placed(text: &str) -> Result<(String, std::path::PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("it is NAME=PATH".to_owned()),
    }
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
}
