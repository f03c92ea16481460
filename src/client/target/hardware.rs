//! What a block device is called by whoever made it, however the kernel calls it today.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Names that last, by what the kernel shows of a device below `/sys/dev/block`: of a mapping or a
/// logical volume, an array, a loop device, a disk (`Documentation/ABI/{stable,testing}/sysfs-block*`).
const NAMES: [&str; 7] = [
    "dm/uuid",
    "md/uuid",
    "loop/backing_file",
    "wwid",
    "device/wwid",
    "serial",
    "device/serial",
];

/// The first name that a device has, and where on it a partition begins; empty where nobody knows
/// one.
pub(super) fn names(device: &Metadata) -> String {
    let number = device.rdev();
    let (major, minor) = (libc::major(number), libc::minor(number));
    let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    names_in(&fs::canonicalize(&folder).unwrap_or(folder))
}

fn names_in(folder: &Path) -> String {
    if folder.join("partition").exists() {
        let whole = folder.parent().map(names_in).unwrap_or_default();
        let start = said(&folder.join("start"));
        return match start {
            Some(start) if !whole.is_empty() => format!("{whole} from {start}"),
            _ => String::new(),
        };
    }
    let mut found = NAMES.iter().filter_map(|name| {
        let said = said(&folder.join(name))?;
        Some(format!("{name}={said}"))
    });
    found.next().unwrap_or_default()
}

fn said(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_lasts_is_taken_and_a_partition_is_a_place_on_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("sdb");
        let partition = disk.join("sdb1");
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(partition.join("partition"), "1\n");
        write(partition.join("start"), "2048\n");
        assert_eq!(names_in(&disk), "");
        assert_eq!(names_in(&partition), "", "a place on any disk");
        write(disk.join("device/serial"), "  \n");
        assert_eq!(names_in(&disk), "");
        write(disk.join("device/serial"), " S1 \n");
        assert_eq!(names_in(&disk), "device/serial=S1");
        write(disk.join("device/wwid"), "naa.5000\n");
        assert_eq!(names_in(&disk), "device/wwid=naa.5000");
        assert_eq!(names_in(&partition), "device/wwid=naa.5000 from 2048");
    }
}
