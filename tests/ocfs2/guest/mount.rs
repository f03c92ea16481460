//! Mounts, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount};

#[derive(Debug)]
pub struct Mount {
    device: PathBuf,
    point: PathBuf,
    options: &'static str,
    mounted: bool,
}

impl Mount {
    /// Mounts a disk's OCFS2 as a node of its own would.
    pub fn ocfs2(device: &Path, point: &Path) -> Mount {
        Mount::with(device, point, "heartbeat=none")
    }

    /// The same, as a node of a cluster or not.
    pub fn with(device: &Path, point: &Path, options: &'static str) -> Mount {
        let mut mount = Mount {
            device: device.to_owned(),
            point: point.to_owned(),
            options,
            mounted: false,
        };
        mount.mount(MsFlags::empty());
        mount
    }

    /// Mounts it (again).
    pub fn mount(&mut self, flags: MsFlags) {
        fs::create_dir_all(&self.point).unwrap();
        mount(
            Some(&self.device),
            &self.point,
            Some("ocfs2"),
            flags,
            Some(self.options),
        )
        .unwrap_or_else(|error| panic!("cannot mount {}: {error}", self.device.display()));
        self.mounted = true;
    }

    pub fn unmount(&mut self) {
        umount(&self.point).unwrap();
        self.mounted = false;
    }

    /// The file system's name, as the kernel gives it.
    pub fn kind(&self) -> String {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let point = self.point.to_str().unwrap();
        let line = mounts.lines().find(|line| line.contains(point)).unwrap();
        line.split(' ').nth(2).unwrap().to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // After a panic files may be open still; the machine ends then.
            let _ = umount(&self.point);
        }
    }
}
