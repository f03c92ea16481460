//! `node show`.

use clap::Subcommand;
use serde_json::json;

use super::output::{Cell, Listing, OutputOptions};
use super::size;
use crate::client::Client;
use crate::protocol::{Node, Reflink, RepositoryInfo, UnmatchedFolder};

/// What is done with a node.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show its repositories and what is wrong with it.
    Show,
}

pub async fn run(
    client: &Client,
    command: &NodeCommand,
    output: &OutputOptions,
) -> anyhow::Result<()> {
    match command {
        NodeCommand::Show => output.one(shown(&client.node().await?)),
    }
}

fn shown(node: &Node) -> Listing {
    let mut listing = Listing::new(
        &[],
        &["Name", "Version", "Repositories", "Unmatched", "Warnings"],
    );
    listing.push([
        node.name.as_str().into(),
        node.version.as_str().into(),
        Cell::new(
            node.repositories.iter().map(repository),
            json!(node.repositories),
        ),
        Cell::new(node.unmatched.iter().map(folder), json!(node.unmatched)),
        Cell::new(node.warnings.iter().cloned(), json!(node.warnings)),
    ]);
    listing
}

fn repository(repository: &RepositoryInfo) -> String {
    let mut line = format!(
        "{} {} {}",
        repository.id,
        repository.mount_point.display(),
        repository.state
    );
    if let Some(alias) = &repository.alias {
        line += &format!(" \"{alias}\"");
    }
    if let (Some(free), Some(total)) = (repository.free_bytes, repository.total_bytes) {
        line += &format!(", {} of {} free", size::text(free), size::text(total));
    }
    line += match repository.reflink {
        Reflink::Yes => ", can clone",
        Reflink::No => ", cannot clone",
        Reflink::Unknown => ", cloning not tried",
    };
    let reasons = [&repository.reason, &repository.reflink_reason];
    for reason in reasons.into_iter().flatten() {
        line += &format!(": {reason}");
    }
    line
}

fn folder(folder: &UnmatchedFolder) -> String {
    format!(
        "{} {}: {}",
        folder.path.display(),
        size::text(folder.bytes),
        folder.reason
    )
}
