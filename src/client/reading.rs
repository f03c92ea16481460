//! What is asked about a disk, and where.

use uuid::Uuid;

use crate::protocol::Refine;

/// A disk of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOf<'a> {
    /// The machine.
    pub vm: &'a str,
    /// Its snapshot.
    pub snapshot: Uuid,
    /// The disk's name in it.
    pub disk: &'a str,
}

/// What a disk is compared to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// An older snapshot; None for all of the disk.
    pub base: Option<Uuid>,
    /// Whether to look at bytes.
    pub refine: Refine,
    /// Where the base is gone or changed: answer with all of the disk, instead of an error.
    pub full_without_base: bool,
}

impl Comparison {
    /// With an older snapshot, or with nothing.
    #[must_use]
    pub fn to(base: Option<Uuid>) -> Comparison {
        Comparison {
            base,
            ..Comparison::default()
        }
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("refine", self.refine.as_str().to_owned())];
        if let Some(base) = self.base {
            query.push(("compareTo", base.to_string()));
        }
        if self.full_without_base {
            query.push(("onBaseLost", "full".to_owned()));
        }
        query
    }
}

pub(super) fn snapshots_path(vm: &str) -> String {
    format!("vms/{}/snapshots", segment(vm))
}

pub(super) fn snapshot_path(vm: &str, snapshot: Uuid) -> String {
    format!("{}/{snapshot}", snapshots_path(vm))
}

pub(super) fn disk_path(disk: &DiskOf<'_>) -> String {
    let snapshot = snapshot_path(disk.vm, disk.snapshot);
    format!("{snapshot}/disks/{}", segment(disk.disk))
}

/// A name as one segment of a URL's path.
pub(super) fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("System.img"), "System.img");
        assert_eq!(segment("a/../b c?d#ü"), "a%2F..%2Fb%20c%3Fd%23%C3%BC");
    }
}
