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
                self.is_known(&finding)?,
                "fsck.ocfs2 has a finding on {}: {finding}",
                self.path.display()
            );
        }
        Ok(())
    }

    /// The same after a loss of writes. OCFS2 copies on write in several transactions, and the recovery of
    /// its journal does not finish what lies between them. Two marks of that are known, on live
    /// disks, and nothing else passes:
    ///
    /// - an empty first record in an extent list, which the next change of the list fills or removes;
    /// - clusters with more references than files, so that they stay allocated for ever. Fewer would be
    ///   the loss of somebody's bytes.
    ///
    /// fsck.ocfs2 does not get past the second without repairing it. So what is left is repaired, and
    /// has to be without a finding then.
    pub fn check_after_loss(&self) -> anyhow::Result<()> {
        let said = fsck(&self.path, "-fn")?;
        let mut marks = Vec::new();
        for finding in findings_of(&said) {
            if self.is_empty_record(finding)? || is_surplus_reference(finding) {
                println!("  an interrupted copy on write: {finding}");
                marks.push(without_answer(finding));
            }
        }
        if !marks.is_empty() {
            for finding in self.repair()? {
                ensure!(
                    // Of these the first one has kept it from the others.
                    is_surplus_reference(&finding)
                        || marks.contains(&without_answer(&finding))
                        || self.is_known(&finding)?,
                    "fsck.ocfs2 has a finding on {}: {finding}",
                    self.path.display()
                );
            }
        }
        self.check()
    }

    /// Has everything repaired. What that was.
    pub fn repair(&self) -> anyhow::Result<Vec<String>> {
        let said = fsck(&self.path, "-fy")?;
        finished(&said, &self.path)?;
        Ok(findings_of(&said).map(str::to_owned).collect())
    }

    fn is_known(&self, finding: &str) -> anyhow::Result<bool> {
        Ok(self.is_preallocation(finding)? || self.is_orphan(finding)?)
    }

    /// A record that holds nothing and lies nowhere, the first of its list, of a live disk.
    fn is_empty_record(&self, finding: &str) -> anyhow::Result<bool> {
        let owner = finding
            .strip_prefix("[EXTENT_BLKNO_RANGE] Extent record 0 in owner ")
            .and_then(|rest| rest.split_whitespace().next());
        let Some(owner) = owner else {
            return Ok(false);
        };
        let path = debugfs(&self.path, &format!("findpath <{owner}>"))?;
        // The line `0  offset  clusters  block  flags` behind the map's heading.
        let about = debugfs(&self.path, &format!("stat <{owner}>"))?;
        let is_empty = about.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            matches!(fields[..], ["0", _, "0", "0", _])
        });
        Ok(path.contains("/VirtualDisks/") && is_empty)
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
    /// finding for fsck; not on a file that we wrote. A wrong count of clusters
    /// (`INODE_SPARSE_CLUSTERS`) is one on any file: see the scenario `past-the-end`.
    fn is_preallocation(&self, finding: &str) -> anyhow::Result<bool> {
        let inode = finding
            .strip_prefix("[INODE_SPARSE_SIZE] Inode ")
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
pub fn findings(path: &Path) -> anyhow::Result<Vec<String>> {
    let said = fsck(path, "-fn")?;
    finished(&said, path)?;
    Ok(findings_of(&said).map(str::to_owned).collect())
}

/// Whatever it exits with: 1 is said of what was repaired, and of a check that has not come to its end.
fn fsck(path: &Path, how: &str) -> anyhow::Result<String> {
    let output = Command::new("fsck.ocfs2")
        .arg(how)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .context("cannot run fsck.ocfs2")?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn finished(said: &str, path: &Path) -> anyhow::Result<()> {
    ensure!(
        said.contains("All passes succeeded"),
        "fsck.ocfs2 did not finish on {}: {}",
        path.display(),
        said.trim()
    );
    Ok(())
}

fn findings_of(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter(|line| line.starts_with('['))
}

/// What was found, whatever fsck.ocfs2 answered to its own question.
fn without_answer(finding: &str) -> String {
    finding
        .rsplit_once('?')
        .map_or(finding, |(found, _)| found)
        .to_owned()
}

/// `clusters 123 with len 4 have 3 refcount while there are 2 files point to them`.
fn is_surplus_reference(finding: &str) -> bool {
    let number_before = |rest: &str, word: &str| -> Option<u32> {
        rest.split(word)
            .next()?
            .split_whitespace()
            .last()?
            .parse()
            .ok()
    };
    finding
        .strip_prefix("[REFCOUNT_COUNT_INVALID] ")
        .and_then(|rest| {
            let counted = number_before(rest, " refcount while")?;
            Some(counted > number_before(rest, " files point")?)
        })
        .unwrap_or(false)
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
    check_the_marks()?;
    std::fs::remove_file(&damaged.path)?;
    Ok(())
}

/// Of references that are wrong only those are tolerated that are too many.
fn check_the_marks() -> anyhow::Result<()> {
    let references = |counted: u32, files: u32| {
        format!(
            "[REFCOUNT_COUNT_INVALID] clusters 69 with len 1 have {counted} refcount while there are \
             {files} files point to them. Correct the refcount value? n"
        )
    };
    for (counted, files, tolerated) in [(3, 2, true), (2, 3, false), (2, 2, false)] {
        let finding = references(counted, files);
        ensure!(
            is_surplus_reference(&finding) == tolerated,
            "misjudged: {finding}"
        );
    }
    let other = "[CLUSTER_ALLOC_BIT] Cluster 53 is marked in the global cluster bitmap but it isn't in use.";
    ensure!(!is_surplus_reference(other), "misjudged: {other}");
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
