use clap::Args;

use super::create::lifetime;
use super::listings;
use crate::cli::output::OutputOptions;
use crate::cli::subject;
use crate::client::Client;
use crate::protocol::{Lifetime, SnapshotChange};

/// Options of `snapshot update`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wish").required(true).multiple(true))]
pub struct ChangeOptions {
    /// The machine may be left out.
    #[arg(value_names = ["[VM] SNAPSHOT"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Words for people.
    #[arg(long, group = "wish")]
    label: Option<String>,
    /// Without a label.
    #[arg(long, group = "wish", conflicts_with = "label")]
    no_label: bool,
    /// The daemon deletes it that long from now, such as 36h.
    #[arg(long, value_name = "TIME", group = "wish", value_parser = lifetime)]
    expires_in: Option<Lifetime>,
    /// The daemon keeps it until it is deleted.
    #[arg(long, group = "wish", conflicts_with = "expires_in")]
    no_expiry: bool,
}

pub async fn run(
    client: &Client,
    options: &ChangeOptions,
    output: &OutputOptions,
) -> anyhow::Result<()> {
    let (vm, ids) = subject::split(&options.words, 1);
    let id = subject::id(&ids[0])?;
    let vm = match vm {
        Some(vm) => vm.to_owned(),
        None => subject::find(client, None, id).await?.vm,
    };
    let change = SnapshotChange {
        label: match (&options.label, options.no_label) {
            (Some(label), _) => Some(Some(label.clone())),
            (None, true) => Some(None),
            (None, false) => None,
        },
        expires_in: match (options.expires_in, options.no_expiry) {
            (Some(term), _) => Some(Some(term)),
            (None, true) => Some(None),
            (None, false) => None,
        },
    };
    let changed = client.change_snapshot(&vm, id, &change).await?;
    output.one(listings::one_without_ranges(&changed))
}
