//! Subcommands and the options of all of them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::connection::ConnectionOptions;
use super::diff::DiffOptions;
use super::map::MapOptions;
use super::node::NodeCommand;
use super::output::OutputOptions;
use super::replicate::ReplicateOptions;
use super::report::ReportOptions;
use super::snapshot::SnapshotCommand;
use super::verify::VerifyOptions;
use super::vms::VmsCommand;

/// Snapshots of Oracle VM guests, what changed between them, and replicas of their disks.
#[derive(Debug, Parser)]
#[command(
    name = "ovm-exporter",
    version,
    arg_required_else_help = true,
    infer_long_args = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 misused."
)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand; they may stand before and after it.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    pub connection: ConnectionOptions,
    #[command(flatten)]
    pub output: OutputOptions,
    /// No progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Taken, and of no effect: the first release's command had it.
    #[arg(short, long, global = true, hide = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The same.
    #[arg(long, global = true, hide = true)]
    pub debug: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Virtual machines.
    #[command(subcommand, alias = "vm")]
    Vms(VmsCommand),
    /// Snapshots of their disks.
    #[command(subcommand, alias = "snapshots")]
    Snapshot(SnapshotCommand),
    /// The node.
    #[command(subcommand)]
    Node(NodeCommand),
    /// What a machine's disks hold, and what to look at in the guest before it is migrated.
    Report(ReportOptions),
    /// What changed from one snapshot to a later one, disk by disk.
    Diff(DiffOptions),
    /// A picture of a snapshot's disks: what is allocated, what changed, what is zero.
    Map(MapOptions),
    /// Keep a replica of a machine's disks: a snapshot, what changed since the last run, again.
    Replicate(Box<ReplicateOptions>),
    /// Compare a replica with its snapshot, by digests. Exit code 1 where they differ.
    Verify(VerifyOptions),
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Write man pages into a folder.
    Man {
        /// It is made where it is not there.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}
