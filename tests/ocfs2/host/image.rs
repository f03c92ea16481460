//! OCFS2 images: made and checked with the tools that OVM's administrators use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::scenario::Image;

/// An image with an OCFS2 for one node.
#[derive(Debug)]
pub struct FileSystem {
    pub path: PathBuf,
    pub image: Image,
    pub uuid: Uuid,
}

impl FileSystem {
    pub fn make(path: &Path, image: Image) -> anyhow::Result<FileSystem> {
        File::create_new(path)?.set_len(image.size)?;
        let mut mkfs = Command::new("mkfs.ocfs2");
        mkfs.args(["-q", "-F", "-M", "local", "-N", "1", "-b", "4096"])
            .args(["-C", &image.cluster.to_string()]);
        if let Some(features) = image.features {
            mkfs.arg(format!("--fs-features={features}"));
        }
        run(mkfs.arg(path))?;
        Ok(FileSystem {
            path: path.to_owned(),
            image,
            uuid: read_uuid(path)?,
        })
    }

    /// Has the file system checked, without a change to it.
    pub fn check(&self) -> anyhow::Result<()> {
        run(Command::new("fsck.ocfs2").arg("-fn").arg(&self.path)).map(drop)
    }
}

fn read_uuid(path: &Path) -> anyhow::Result<Uuid> {
    let stats = run(Command::new("debugfs.ocfs2")
        .args(["-R", "stats"])
        .arg(path))?;
    stats
        .lines()
        .find_map(|line| line.trim().strip_prefix("UUID: "))
        .and_then(|text| Uuid::try_parse(text.trim()).ok())
        .with_context(|| format!("debugfs.ocfs2 tells no UUID: {stats}"))
}

/// Runs a command that has to work, and gives what it printed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        bail!("{program}: {}: {}", output.status, said.trim());
    }
    Ok(said)
}
