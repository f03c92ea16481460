//! Loop devices and mounts, gone when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::comparison::house::{must, shell, text};

/// A loop device that shows an image.
#[derive(Debug)]
pub struct Loop {
    pub device: PathBuf,
}

impl Loop {
    /// A new image of zeros, without room of its own, and the device that shows it.
    pub fn new(image: &Path, size: u64, options: &[&str]) -> Loop {
        File::create_new(image).unwrap().set_len(size).unwrap();
        Loop::of(image, options)
    }

    pub fn of(image: &Path, options: &[&str]) -> Loop {
        let arguments = [options, &["--find", "--show", text(image)]].concat();
        let device = must("losetup", &arguments).trim().into();
        Loop { device }
    }

    pub fn name(&self) -> &str {
        text(&self.device)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Read-only by blockdev(8), it would stay so for whoever gets it next.
        shell("blockdev", &["--setrw", self.name()]);
        let (said, worked) = shell("losetup", &["--detach", self.name()]);
        assert!(worked || std::thread::panicking(), "losetup: {said}");
    }
}

/// Something mounted.
#[derive(Debug)]
pub struct Mount {
    pub point: PathBuf,
}

impl Mount {
    /// `arguments` are mount(8)'s, but for the mount point, which is made.
    pub fn new(point: &Path, arguments: &[&str]) -> Mount {
        fs::create_dir(point).unwrap();
        must("mount", &[arguments, &[text(point)]].concat());
        Mount {
            point: point.to_owned(),
        }
    }

    /// A new file system in an image of this size, bytes.
    pub fn image(folder: &TempDir, mkfs: &[&str], size: u64) -> Mount {
        let image = folder.path().join("file-system");
        File::create_new(&image).unwrap().set_len(size).unwrap();
        must(mkfs[0], &[&mkfs[1..], &[text(&image)]].concat());
        Mount::new(&folder.path().join("mount"), &["-o", "loop", text(&image)])
    }

    pub fn ext4(folder: &TempDir, size: u64) -> Mount {
        Mount::image(folder, &["mkfs.ext4", "-q", "-m", "0"], size)
    }

    /// A file system that lives in memory: `tmpfs` has a size, `ramfs` has no holes.
    pub fn memory(folder: &TempDir, kind: &str, options: &str) -> Mount {
        let point = folder.path().join(kind);
        Mount::new(&point, &["-t", kind, "-o", options, kind])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let (said, worked) = shell("umount", &[text(&self.point)]);
        assert!(worked || std::thread::panicking(), "umount: {said}");
    }
}
