//! OCFS2 images: made and checked with the tools that OVM's administrators use.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use uuid::Uuid;

use crate::scenario::Image;

const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;

/// An image with an OCFS2.
#[derive(Debug, Clone)]
pub struct FileSystem {
    pub path: PathBuf,
    pub image: Image,
    pub uuid: Uuid,
    /// Where its heartbeat area begins, in sectors; only of one for a cluster.
    pub heartbeat: Option<u64>,
}

impl FileSystem {
    pub fn make(path: &Path, image: Image) -> anyhow::Result<FileSystem> {
        File::create_new(path)?.set_len(image.size)?;
        let mut mkfs = Command::new("mkfs.ocfs2");
        mkfs.args(["-q", "-F", "-b", &BLOCK.to_string()])
            .args(["-C", &image.cluster.to_string()]);
        if image.nodes > 1 {
            mkfs.args(["--cluster-stack=o2cb", "--cluster-name=lab", "--force"])
                .args(["-N", &image.nodes.to_string()]);
        } else {
            mkfs.args(["-M", "local", "-N", "1"]);
        }
        if let Some(features) = image.features {
            mkfs.arg(format!("--fs-features={features}"));
        }
        run(mkfs.arg(path))?;
        Ok(FileSystem {
            path: path.to_owned(),
            image,
            uuid: read_uuid(path)?,
            heartbeat: match image.nodes {
                1 => None,
                _ => Some(find_heartbeat(path)?),
            },
        })
    }

    /// Has the file system checked, without a change to it.
    pub fn check(&self) -> anyhow::Result<()> {
        for finding in findings(&self.path)? {
            ensure!(
                self.is_preallocation(&finding)? || self.is_orphan(&finding)?,
                "fsck.ocfs2 has a finding on {}: {finding}",
                self.path.display()
            );
        }
        Ok(())
    }

    /// What one node deleted while the other still had it open, and was unmounted before OCFS2's
    /// own scan came by (every ten minutes): it has no name any more, and goes with the next scan.
    fn is_orphan(&self, finding: &str) -> anyhow::Result<bool> {
        let inode = finding
            .strip_prefix("[INODE_COUNT] Inode ")
            .and_then(|rest| rest.split_whitespace().next());
        let Some(inode) = inode else {
            return Ok(false);
        };
        let found = debugfs(&self.path, &format!("findpath <{inode}>"))?;
        let path = found.split_whitespace().nth(1);
        Ok(path.is_some_and(|path| path.starts_with("//orphan_dir:")))
    }

    /// Blocks behind the end of a disk, which a guest preallocated (`FALLOC_FL_KEEP_SIZE`), are a
    /// finding for fsck. `FICLONE` clones them; `OCFS2_IOC_REFLINK` leaves them out, and gives the
    /// clone the disk's count of clusters all the same. Neither is a finding on a file that we wrote.
    fn is_preallocation(&self, finding: &str) -> anyhow::Result<bool> {
        let inode = [
            "[INODE_SPARSE_SIZE] Inode ",
            "[INODE_SPARSE_CLUSTERS] Inode ",
        ]
        .iter()
        .find_map(|code| finding.strip_prefix(code))
        .and_then(|rest| rest.split_whitespace().next());
        let Some(inode) = inode else {
            return Ok(false);
        };
        let found = debugfs(&self.path, &format!("findpath <{inode}>"))?;
        Ok(found.trim_end().ends_with(".img"))
    }
}

/// What `fsck.ocfs2 -fn` finds. It answers no to its own questions and exits with 0 whatever that
/// is: what it printed has to be read. A finding begins with its code in brackets, as in
/// `[INODE_COUNT]`.
fn findings(path: &Path) -> anyhow::Result<Vec<String>> {
    let said = run(Command::new("fsck.ocfs2").arg("-fn").arg(path))?;
    ensure!(
        said.contains("All passes succeeded"),
        "fsck.ocfs2 did not finish on {}: {}",
        path.display(),
        said.trim()
    );
    let findings = said.lines().filter(|line| line.starts_with('['));
    Ok(findings.map(str::to_owned).collect())
}

/// A file system with one block destroyed must not pass: else the check checks nothing.
pub fn check_the_check(folder: &Path) -> anyhow::Result<()> {
    const SMALL: Image = Image {
        cluster: 4096,
        size: 64 << 20,
        features: None,
        nodes: 1,
    };
    let damaged = FileSystem::make(&folder.join("damaged.img"), SMALL)?;
    damaged.check()?;
    let about = debugfs(&damaged.path, "stat /lost+found")?;
    // On OCFS2 an inode's number is the block it lies in.
    let block: u64 = about
        .split("Inode: ")
        .nth(1)
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("debugfs.ocfs2 tells no inode: {about}"))?;
    let zeros = [0; 4096];
    File::options()
        .write(true)
        .open(&damaged.path)?
        .write_all_at(&zeros, block * BLOCK)?;
    let Err(finding) = damaged.check() else {
        bail!("fsck.ocfs2 passes a file system whose block {block} was overwritten");
    };
    println!("the check of file systems finds damage: {finding:#}");
    std::fs::remove_file(&damaged.path)?;
    Ok(())
}

fn debugfs(path: &Path, request: &str) -> anyhow::Result<String> {
    run(Command::new("debugfs.ocfs2")
        .args(["-R", request])
        .arg(path))
}

/// The heartbeat area is a file of one extent: the first block of it, as the map has it behind the
/// line `## Offset Clusters Block# Flags`.
fn find_heartbeat(path: &Path) -> anyhow::Result<u64> {
    let about = debugfs(path, "stat //heartbeat")?;
    let block: u64 = about
        .lines()
        .skip_while(|line| !line.contains("Block#"))
        .nth(1)
        .and_then(|extent| extent.split_whitespace().nth(3)?.parse().ok())
        .with_context(|| format!("debugfs.ocfs2 tells no heartbeat area: {about}"))?;
    Ok(block * (BLOCK / SECTOR))
}

fn read_uuid(path: &Path) -> anyhow::Result<Uuid> {
    let stats = debugfs(path, "stats")?;
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
