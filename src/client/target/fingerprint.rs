use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An identity that begins so is of a device that can be told from every other.
const DEVICE: &str = "device ";

/// What tells whether a target is still as it was left. To be compared, not to be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Which one it is: another file under the same name has another. Of a file its device and
    /// inode, and when it was made, where its file system tells; of a device what its hardware, or
    /// whoever made it, calls it.
    pub identity: String,
    /// Another one after every write, by whomever. Of a file its size in bytes, and when its bytes
    /// and when its inode were changed, in nanoseconds. Reading changes none of them. Of a device
    /// a digest of some of its bytes.
    pub version: String,
    /// When it was changed last, by the clock of whoever keeps it. None where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
}

impl Fingerprint {
    /// Of a file that was looked at. A file's time of change cannot be set, so what puts back older
    /// bytes together with their time of modification is seen too.
    #[must_use]
    pub fn of(found: &Metadata) -> Fingerprint {
        // An inode's number is given to the next file that is made.
        let made = found.created().ok().and_then(|at| {
            let at = Timestamp::try_from(at).ok()?;
            Some(format!(":{}", at.as_nanosecond()))
        });
        let nanoseconds = i32::try_from(found.ctime_nsec()).unwrap_or(0);
        Fingerprint {
            identity: format!(
                "{}:{}{}",
                found.dev(),
                found.ino(),
                made.unwrap_or_default()
            ),
            version: format!(
                "{} {}.{:09} {}.{:09}",
                found.size(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec()
            ),
            changed: Timestamp::new(found.ctime(), nanoseconds).ok(),
        }
    }

    /// Of a device, by its names (none where nobody knows one) and a digest of some of its bytes.
    pub(super) fn of_device(names: &str, bytes: &str) -> Fingerprint {
        Fingerprint {
            identity: if names.is_empty() {
                String::new()
            } else {
                format!("{DEVICE}{names}")
            },
            version: bytes.to_owned(),
            changed: None,
        }
    }

    /// Of a volume that nobody can look at, by what its owner says that it is.
    pub(super) fn of_volume(id: &str) -> Fingerprint {
        Fingerprint {
            identity: format!("{DEVICE}volume={id}"),
            version: String::new(),
            changed: None,
        }
    }

    /// Whether the other is of another device for certain: under a kernel's name for it lies
    /// another one after each start.
    pub(crate) fn is_another_device(&self, other: &Fingerprint) -> bool {
        fn kind(identity: &str) -> Option<&str> {
            Some(identity.strip_prefix(DEVICE)?.split_once('=')?.0)
        }
        // Another kernel may know another kind of name.
        let ours = kind(&self.identity);
        ours.is_some() && ours == kind(&other.identity) && self.identity != other.identity
    }
}
