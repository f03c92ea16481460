//! The file system that a stand-in repository lies on.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::sys::attributes::{self, IMMUTABLE};

/// A temporary folder, with a file system mounted in it or without. Gone when dropped.
#[derive(Debug)]
pub struct Ground {
    // Dropped in this order: unmounted first, removed second.
    mount: Option<LoopMount>,
    /// Holds the image, the mount point, and whatever else the node needs.
    folder: TempDir,
}

impl Ground {
    /// A folder below `parent`, which lies on a file system with reflink.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn folder(parent: &Path) -> anyhow::Result<Ground> {
        let folder = tempfile::Builder::new()
            .prefix("coriolis-demo-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        fs::create_dir(folder.path().join("repository"))?;
        Ok(Ground {
            folder,
            mount: None,
        })
    }

    /// A new XFS of `size` bytes in a sparse image.
    ///
    /// # Errors
    /// Without root, loop devices, or `mkfs.xfs`.
    pub fn xfs(size: u64) -> anyhow::Result<Ground> {
        Ground::image("xfs", &["mkfs.xfs", "-q", "-m", "reflink=1"], "", size)
    }

    /// A new file system in a sparse image: `mkfs` is the command that makes it, to which the
    /// image is added.
    ///
    /// # Errors
    /// Without root, loop devices, or the command.
    pub fn image(kind: &str, mkfs: &[&str], options: &str, size: u64) -> anyhow::Result<Ground> {
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "mounting an image needs root; without it, give --dir a folder on a file system \
                 with reflink (XFS, btrfs)"
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("coriolis-demo-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let image = folder.path().join("repository.img");
        File::create_new(&image)?.set_len(size)?;
        let mut command = Command::new(mkfs[0]);
        command.args(&mkfs[1..]).arg(&image);
        run(&mut command)?;
        let point = folder.path().join("repository");
        fs::create_dir(&point)?;
        let mount = LoopMount::new(image, point, kind, options)?;
        Ok(Ground {
            folder,
            mount: Some(mount),
        })
    }

    /// The temporary folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The repository's mount point.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// The mount, to take it away and bring it back.
    pub fn mount(&mut self) -> Option<&mut LoopMount> {
        self.mount.as_mut()
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mount {
            Some(mount) => write!(f, "a loop-mounted {}", mount.kind),
            None => write!(f, "{}", self.folder.path().display()),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.mount.is_none() {
            // Sealed files would keep the folder from being removed.
            unseal_all(&self.repository());
        }
    }
}

fn unseal_all(folder: &Path) {
    let Ok(items) = fs::read_dir(folder) else {
        return;
    };
    for item in items.flatten() {
        let Ok(kind) = item.file_type() else { continue };
        if kind.is_dir() {
            unseal_all(&item.path());
        } else if kind.is_file()
            && let Ok(file) = File::open(item.path())
        {
            let _ = attributes::set(&file, IMMUTABLE, false);
        }
    }
}

/// An image mounted through a loop device. Unmounted, and the device detached, when dropped.
#[derive(Debug)]
pub struct LoopMount {
    image: PathBuf,
    point: PathBuf,
    kind: String,
    options: String,
    mounted: bool,
}

impl LoopMount {
    fn new(image: PathBuf, point: PathBuf, kind: &str, options: &str) -> anyhow::Result<LoopMount> {
        let mut mount = LoopMount {
            image,
            point,
            kind: kind.to_owned(),
            options: options.to_owned(),
            mounted: false,
        };
        mount.mount()?;
        Ok(mount)
    }

    /// Mounts the image, on whichever loop device is free.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn mount(&mut self) -> anyhow::Result<()> {
        // mount(8) marks the device so that the kernel detaches it at unmounting.
        let options = if self.options.is_empty() {
            "loop".to_owned()
        } else {
            format!("loop,{}", self.options)
        };
        run(Command::new("mount")
            .args(["-t", &self.kind, "-o", &options])
            .arg(&self.image)
            .arg(&self.point))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// What `umount` says, such as that it is busy.
    pub fn unmount(&mut self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(&self.point))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Somebody still has a file open: out of sight now, gone when they let go.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.point));
        }
    }
}

/// Runs a command that is silent when it works.
///
/// # Errors
/// What it printed, or that it is not there.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| {
        format!("cannot run {program}; `make setup` installs the Debian package it comes with")
    })?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
