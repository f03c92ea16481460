//! `snapshot …`.

mod change;
mod create;
mod download;
mod half_applied;
mod listings;

use clap::Subcommand;

use super::arguments::Common;
use super::subject;
use crate::client::Client;

pub use create::{ConsistencyName, CreateOptions, lifetime};

/// What is done with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List those of a machine that can be used; of all machines, those that cannot be used too.
    List {
        /// The machine; all where it is left out.
        vm: Option<String>,
        /// Those of all machines.
        #[arg(long, conflicts_with = "vm")]
        all: bool,
        /// Find out how much each holds alone, which takes the daemon a look at every extent.
        #[arg(long, conflicts_with = "vm")]
        space: bool,
    },
    /// Show one.
    Show {
        /// The machine may be left out.
        #[arg(value_names = ["[VM] SNAPSHOT"], num_args = 1..=2, required = true)]
        words: Vec<String>,
    },
    /// Take one of all disks of a machine.
    Create(CreateOptions),
    /// Write its disks into files of their names.
    Download(download::DownloadOptions),
    /// Change its label or term.
    #[command(visible_alias = "change")]
    Update(change::ChangeOptions),
    /// Delete one. It is no error when it is gone already.
    Delete {
        /// The machine.
        vm: String,
        /// Its snapshot.
        #[arg(required = true)]
        snapshot: Vec<String>,
    },
    /// Delete all of a machine, without asking.
    Purge {
        /// The machine.
        vm: String,
    },
}

pub async fn run(
    client: &Client,
    command: &SnapshotCommand,
    common: &Common,
) -> anyhow::Result<()> {
    let output = &common.output;
    match command {
        SnapshotCommand::List { vm: Some(vm), .. } => {
            output.list(listings::of_machine(&client.snapshots(vm).await?))
        }
        SnapshotCommand::List { space, .. } => {
            output.list(listings::of_all(&client.all_snapshots(*space).await?))
        }
        SnapshotCommand::Show { words } => {
            let (vm, ids) = subject::split(words, 1);
            let id = subject::id(&ids[0])?;
            let vm = match vm {
                Some(vm) => vm.to_owned(),
                None => subject::find(client, None, id).await?.vm,
            };
            output.one(listings::one(&client.snapshot(&vm, id, None).await?))
        }
        SnapshotCommand::Create(options) => {
            let taken = client
                .create_snapshot_with(&options.vm, &options.request())
                .await?;
            output.one(listings::one(&taken))
        }
        SnapshotCommand::Download(options) => download::run(client, options, common.quiet).await,
        SnapshotCommand::Update(options) => change::run(client, options, output).await,
        SnapshotCommand::Delete { vm, snapshot } => {
            for id in snapshot {
                client.delete_snapshot(vm, subject::id(id)?).await?;
            }
            Ok(())
        }
        SnapshotCommand::Purge { vm } => Ok(client.delete_all_snapshots(vm).await?),
    }
}
