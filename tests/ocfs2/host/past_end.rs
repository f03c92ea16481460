//! Clones with a wrong count of clusters, between two boots: `fsck.ocfs2` sets them right, as the
//! message says.

use anyhow::Context as _;

use super::Lab;
use super::image::{FileSystem, findings};
use crate::scenario::Scenario;

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    lab.boot(scenario, &disks)?.finish(lab.patience())?;
    // The last one is broken on purpose.
    let (_broken, good) = disks.split_last().context("no images")?;
    for disk in good {
        let found = findings(&disk.path)?;
        let counts = |line: &&String| line.starts_with("[INODE_") && line.contains("clusters");
        println!(
            "  fsck.ocfs2: {}",
            found
                .iter()
                .find(counts)
                .context("fsck.ocfs2 finds no wrong count")?
        );
        disk.repair()?;
        disk.check()?;
    }
    // With these alone the machine knows that it is the second boot.
    lab.boot(scenario, good)?.finish(lab.patience())?;
    good.iter().try_for_each(FileSystem::check)
}
