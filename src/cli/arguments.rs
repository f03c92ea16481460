//! Subcommands and their options.

use clap::{Parser, Subcommand};

use super::connection::ConnectionOptions;
use super::vms::VmsCommand;

/// Snapshots of Oracle VM guests, what changed between them, and replicas of their disks.
#[derive(Debug, Parser)]
#[command(
    name = "ovm-exporter",
    version,
    arg_required_else_help = true,
    infer_long_args = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: ConnectionOptions,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Virtual machines.
    #[command(subcommand, visible_alias = "vm")]
    Vms(VmsCommand),
}
