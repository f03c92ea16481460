//! Mounts, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};

/// Options for a node of its own.
pub const DEFAULT: &str = "heartbeat=none";
/// With these a journal commit, and so an fsync, flushes the disk's cache. By default OCFS2 never
/// does: it leaves that to storage that needs no flush.
pub const BARRIER: &str = "heartbeat=none,barrier=1";

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
        Mount::with(device, point, DEFAULT)
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

    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Unmounts it, if it is mounted.
    pub fn unmount(&mut self) {
        if self.mounted {
            umount(&self.point).unwrap();
            self.mounted = false;
        }
    }

    /// Changes between read-only and not, in place.
    pub fn remount(&self, flags: MsFlags) -> nix::Result<()> {
        let none = None::<&str>;
        let flags = flags | MsFlags::MS_REMOUNT;
        mount(none, &self.point, none, flags, Some(self.options))
    }

    /// Takes the name away from whatever is in use still.
    pub fn detach(&self) {
        umount2(&self.point, MntFlags::MNT_DETACH).unwrap();
    }

    /// What it was is gone already.
    pub fn forget(&mut self) {
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
