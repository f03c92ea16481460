//! The command `ovm-exporter`: what the interface offers, for people and scripts.
//!
//! Names, options, variables of the environment, columns and exit codes of the first generation's
//! command are kept, and added to. Standard output has results, standard error all else. Exit
//! codes: 0 done, 1 failed, 2 misused.

mod arguments;
mod connection;
mod output;
mod size;
mod vms;

use std::process::ExitCode;

use clap::Parser;

use crate::causes;
use arguments::{Arguments, Command};
use output::ReaderGone;

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    obey(arguments).unwrap_or_else(|error| {
        // Nobody reads on, as with `| head`: nothing is wrong.
        if error.is::<ReaderGone>() {
            return ExitCode::SUCCESS;
        }
        say(&format!("ovm-exporter: {}", causes::of(&error)));
        ExitCode::FAILURE
    })
}

fn obey(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(converse(arguments))
}

async fn converse(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = &arguments.connection;
    match &arguments.command {
        Command::Vms(command) => vms::run(&connection.connect().await?, command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A line on standard error. `eprintln` would panic where that is closed.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
