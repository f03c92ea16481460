//! The snapshots on all repositories: how much they hold, and those that need a hand.

use std::time::Duration;

use jiff::Timestamp;

use super::finding::{Finding, bytes};
use super::repository::LookedAt;
use super::round::Notes;
use crate::config::Config;
use crate::ovm::agent::AgentRepository;
use crate::ovm::inventory::Inventory;
use crate::ovm::repository::{Mount, Repository};
use crate::snapshots::{Orphans, Snapshot, Standing, Survey, clusters};

const CHECK: &str = "snapshots";
/// So long after a term is over the daemon has surely looked, beside its interval.
const GRACE: Duration = Duration::from_secs(300);

/// `known` are all repositories, `answered` those that could be looked at.
pub(super) fn check(
    notes: &Notes,
    config: &Config,
    known: &[AgentRepository],
    answered: Vec<LookedAt>,
) {
    let (mut repositories, inventories): (Vec<_>, Vec<_>) = answered.into_iter().unzip();
    for missing in known {
        if !repositories
            .iter()
            .any(|answered: &Repository| answered.id == missing.id)
        {
            repositories.push(Repository {
                id: missing.id.clone(),
                alias: missing.alias.clone(),
                mount_point: missing.mount_point.clone().unwrap_or_default(),
                mount: Mount::Missing("it does not answer".to_owned()),
            });
        }
    }
    notes.doing("reading the manifests of all snapshots");
    let survey = Survey::of(&repositories);
    let now = Timestamp::now();
    let grace = GRACE + config.snapshots.recover_interval * 2;
    for snapshot in &survey.snapshots {
        let damaged = clusters::damaged(snapshot).into_iter().map(|reason| {
            let advice = "unmount the repository on every node, then fsck.ocfs2 -f DEVICE";
            Finding::warning(CHECK, format!("it cannot be deleted: {reason}"), advice)
        });
        for finding in judge(snapshot, now, grace).into_iter().chain(damaged) {
            notes.found(finding.of(snapshot.id()));
        }
    }
    for (path, reason) in &survey.unreadable {
        let advice = "restore the manifest, or remove the folder by hand (chattr -i first)";
        notes.found(Finding::bad(CHECK, reason, advice).of(path.display()));
    }
    unmatched(notes, config, &repositories, inventories);
    notes.doing("adding up the space that snapshots hold");
    notes.found(Finding::good(CHECK, summary(&survey)));
}

fn judge(snapshot: &Snapshot, now: Timestamp, grace: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifest = &snapshot.manifest;
    match &snapshot.standing {
        Standing::Waiting(reason) => findings.push(Finding::warning(
            CHECK,
            format!("it waits: {reason}"),
            "mount the repository; if it is gone for good, delete the snapshot",
        )),
        Standing::Broken(reason) => findings.push(Finding::warning(
            CHECK,
            format!("it can only be deleted: {reason}"),
            "delete it, and begin again with a full copy",
        )),
        Standing::Ready | Standing::Creating | Standing::Deleting => {}
    }
    let over = manifest
        .expires_at
        .filter(|end| now.as_second().saturating_sub(end.as_second()) > seconds(grace));
    if let Some(end) = over {
        findings.push(Finding::warning(
            CHECK,
            format!("its term was over at {end}, and it is still there"),
            "see whether the daemon runs on a node of the pool, and what its log says",
        ));
    }
    findings
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Folders that are named like snapshots and belong to nobody, or are not adopted yet.
fn unmatched(
    notes: &Notes,
    config: &Config,
    repositories: &[Repository],
    inventories: Vec<Inventory>,
) {
    notes.doing("looking for folders that belong to no snapshot");
    let mut inventory = Inventory::default();
    for one in inventories {
        inventory.vms.extend(one.vms);
        inventory.warnings.extend(one.warnings);
    }
    let found = Orphans::survey(&config.db_file, repositories, &inventory);
    let told = |list: &[crate::snapshots::UnmatchedFolder], advice: &str| {
        for folder in list {
            let message = format!(
                "{} without a manifest: {}",
                bytes(folder.bytes),
                folder.reason
            );
            notes.found(Finding::warning(CHECK, message, advice).of(folder.path.display()));
        }
    };
    told(
        &found.orphans,
        "if nobody needs it: coriolis-ovm-exporter purge --orphans",
    );
    told(&found.kept, "the daemon adopts it when that is mended");
}

fn summary(survey: &Survey) -> String {
    let alone: Vec<Option<u64>> = survey
        .snapshots
        .iter()
        .map(Snapshot::exclusive_bytes)
        .collect();
    let sum = alone.iter().flatten().sum();
    let unknown = alone.iter().filter(|bytes| bytes.is_none()).count();
    let mut text = format!("{} on all repositories", survey.snapshots.len());
    if unknown < alone.len() {
        text += &format!(", holding {} alone", bytes(sum));
    }
    if unknown > 0 {
        text += &format!("; of {unknown} the file system cannot tell the space");
    }
    let in_between =
        |snapshot: &&Snapshot| matches!(snapshot.standing, Standing::Creating | Standing::Deleting);
    let between = survey.snapshots.iter().filter(in_between).count() + survey.unfinished;
    if between > 0 {
        text += &format!("; {between} being made or removed");
    }
    text
}
