//! Who uses a block device, for the message that it is in use.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Mount points and devices above this one and its partitions, as text; empty where none is found,
/// which does not mean that there is none: file systems over several devices, other containers and
/// other runs are not seen here.
pub(super) fn users(device: &Metadata) -> Vec<String> {
    let number = device.rdev();
    let number = format!("{}:{}", libc::major(number), libc::minor(number));
    let folder = Path::new("/sys/dev/block").join(&number);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = users_of(&folder, &number, &mounts);
    for item in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let partition = item.path();
        if partition.join("partition").exists()
            && let Ok(number) = fs::read_to_string(partition.join("dev"))
        {
            found.extend(users_of(&partition, number.trim(), &mounts));
        }
    }
    found
}

fn users_of(folder: &Path, number: &str, mounts: &str) -> Vec<String> {
    let mounted = mounted_at(mounts, number).map(|point| format!("mounted at {point}"));
    let holders = fs::read_dir(folder.join("holders"));
    let held = holders.into_iter().flatten().flatten().map(|holder| {
        let name = holder.file_name();
        format!("part of /dev/{}", name.to_string_lossy())
    });
    mounted.chain(held).collect()
}

/// Where the device with this number is mounted, by `/proc/self/mountinfo` (proc(5)).
fn mounted_at<'m>(mounts: &'m str, number: &str) -> impl Iterator<Item = &'m str> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next() == Some(number))
            .then(|| fields.nth(1))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::mounted_at;

    #[test]
    fn a_mount_point_is_found_by_the_devices_number() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      41 22 7:0 / /mnt/a\\040b rw,relatime shared:1 - xfs /dev/loop0 rw\n\
                      42 22 7:0 /sub /mnt/c rw - xfs /dev/loop0 rw\n\
                      43 22 7:10 / /mnt/d rw - xfs /dev/loop10 rw\n";
        let found: Vec<_> = mounted_at(mounts, "7:0").collect();
        assert_eq!(found, ["/mnt/a\\040b", "/mnt/c"]);
        assert_eq!(mounted_at(mounts, "7:1").count(), 0);
    }
}
