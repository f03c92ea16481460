//! The command `ovm-exporter`: what the interface offers, for people and scripts.
//!
//! Names, options, variables of the environment, columns and exit codes of the first generation's
//! command are kept, and added to. Standard output has results, standard error all else. Exit
//! codes: 0 done, 1 failed, 2 misused.

mod arguments;
mod connection;
mod diff;
mod map;
mod node;
mod output;
mod pages;
mod password_file;
mod patience;
mod progress;
mod replicate;
mod report;
mod size;
mod snapshot;
mod subject;
mod verify;
mod vms;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::sys::file_size;
use crate::{causes, manual};
use arguments::{Arguments, Command};
use output::ReaderGone;

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    // Where it cannot be had, a file that may not become larger ends the command, as it does others.
    let _ = file_size::tell_of_limit();
    obey(Arguments::parse()).unwrap_or_else(|error| {
        // Nobody reads on, as with `| head`: nothing is wrong.
        if error.is::<ReaderGone>() {
            return ExitCode::SUCCESS;
        }
        say(&format!("ovm-exporter: {}", causes::of(error.as_ref())));
        ExitCode::FAILURE
    })
}

fn obey(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            manual::completions(Arguments::command(), *shell, &mut script)?;
            output::write(&String::from_utf8(script)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder } => {
            manual::pages(Arguments::command(), folder)
                .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(converse(arguments)),
    }
}

async fn converse(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let common = &arguments.common;
    if let Command::Replicate(options) = &arguments.command {
        return replicate::run(options, common).await;
    }
    let (client, output) = (&common.connection.connect().await?, &common.output);
    match &arguments.command {
        Command::Vms(command) => vms::run(client, command, output).await?,
        Command::Snapshot(command) => snapshot::run(client, command, common).await?,
        Command::Node(command) => node::run(client, command, output).await?,
        Command::Report(options) => report::run(client, options, output).await?,
        Command::Diff(options) => diff::run(client, options, common).await?,
        Command::Map(options) => map::run(client, options, common).await?,
        Command::Verify(options) => return verify::run(client, options, common).await,
        Command::Replicate(_) | Command::Completions { .. } | Command::Man { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// A line on standard error, with names and reasons that came from elsewhere. `eprintln` would
/// panic where that is closed.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{}", output::harmless(line));
}
