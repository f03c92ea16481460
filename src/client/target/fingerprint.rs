use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// What tells whether a target is still as it was left. To be compared, not to be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Which one it is: another file under the same name has another. Of a file its device and
    /// inode.
    pub identity: String,
    /// Another one after every write, by whomever. Of a file its size in bytes, and when its bytes
    /// and when its inode were changed, in nanoseconds. Reading changes none of them.
    pub version: String,
}

impl Fingerprint {
    /// Of a file that was looked at. A file's time of change cannot be set, so what puts back older
    /// bytes together with their time of modification is seen too.
    #[must_use]
    pub fn of(found: &Metadata) -> Fingerprint {
        Fingerprint {
            identity: format!("{}:{}", found.dev(), found.ino()),
            version: format!(
                "{} {}.{:09} {}.{:09}",
                found.size(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec()
            ),
        }
    }
}
