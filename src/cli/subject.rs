//! Which snapshot is meant.

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::client::Client;
use crate::protocol::{SnapshotEntry, SnapshotState};

/// A snapshot that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub vm: String,
    pub snapshot: Uuid,
    /// Names of its disks.
    pub disks: Vec<String>,
}

/// Reads an id.
pub fn id(text: &str) -> anyhow::Result<Uuid> {
    Uuid::parse_str(text.trim()).with_context(|| format!("\"{text}\" is no snapshot id"))
}

/// Splits `[VM] ID…` where so many ids are expected.
pub fn split(words: &[String], ids: usize) -> (Option<&str>, &[String]) {
    if words.len() > ids {
        (Some(&words[0]), &words[words.len() - ids..])
    } else {
        (None, words)
    }
}

/// Finds a snapshot that can be used, whoever's it is where no machine is named. What its disks'
/// chunks are is not asked for: they may be many.
pub async fn find(client: &Client, vm: Option<&str>, snapshot: Uuid) -> anyhow::Result<Subject> {
    let all = client.all_snapshots(false).await?;
    let entry = all.into_iter().find(|entry| entry.id == snapshot);
    let Some(entry) = entry else {
        bail!("there is no snapshot {snapshot}; `ovm-exporter snapshot list` shows all");
    };
    subject(entry, vm)
}

fn subject(entry: SnapshotEntry, vm: Option<&str>) -> anyhow::Result<Subject> {
    let id = entry.id;
    if entry.state != SnapshotState::Ready {
        let reason = entry.reason.unwrap_or_default();
        bail!(
            "snapshot {id} cannot be used, it is {}: {reason}",
            state(entry.state)
        );
    }
    Ok(Subject {
        // The name that was given may be another one of the same machine; the daemon checks it.
        vm: match vm {
            Some(vm) => vm.to_owned(),
            None => entry.vm_id.context("nobody knows its machine")?,
        },
        snapshot: id,
        disks: entry.disks,
    })
}

impl Subject {
    /// The disks that are wanted: all where none is named.
    pub fn chosen(&self, wanted: &[String]) -> anyhow::Result<Vec<&str>> {
        let names = self.disks.iter().map(String::as_str);
        if let Some(missing) = wanted.iter().find(|name| !self.disks.contains(name)) {
            bail!(
                "snapshot {} has no disk {missing}; it has {}",
                self.snapshot,
                self.disks.join(", ")
            );
        }
        Ok(names
            .filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
            .collect())
    }
}

/// A state's name.
pub fn state(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Ready => "ready",
        SnapshotState::Creating => "creating",
        SnapshotState::Deleting => "deleting",
        SnapshotState::Waiting => "waiting",
        SnapshotState::Broken => "broken",
        SnapshotState::Unmatched => "unmatched",
        SnapshotState::Unreadable => "unreadable",
        SnapshotState::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_machine_may_be_left_out() {
        let words: Vec<String> = ["vm", "one", "two"].map(str::to_owned).into();
        assert_eq!(split(&words, 2), (Some("vm"), &words[1..]));
        assert_eq!(split(&words[1..], 2), (None, &words[1..]));
        assert_eq!(split(&words[..2], 1), (Some("vm"), &words[1..2]));
    }
}
