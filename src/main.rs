//! The daemon's program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use coriolis_ovm_exporter::config::arguments;
use coriolis_ovm_exporter::operations::{check_config, demo, doctor, init, purge, serve, token};
use coriolis_ovm_exporter::{causes, guard, manual, server};

/// Changed-block exporter for Oracle VM nodes.
#[derive(Parser)]
#[command(name = "coriolis-ovm-exporter", version)]
struct Arguments {
    /// Configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/coriolis-ovm-exporter/config.toml"
    )]
    config: PathBuf,
    /// Without one, the daemon serves until SIGTERM.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write a configuration that works: a secret, certificates, and what the orchestrator needs.
    Init(init::Options),
    /// Check this node, and say what to do where it is not good. Exits with 0 where all is good, 1
    /// for warnings, 2 where something is bad.
    Doctor(doctor::Options),
    /// Make a short-lived token for the API on the node itself, for when the manager is down.
    Token(token::Options),
    /// Say all that is wrong with the configuration and the files it names.
    CheckConfig,
    /// Remove what lies in the repositories and belongs to nobody.
    Purge(purge::Options),
    /// Show a whole replication on a stand-in node in a temporary folder.
    Demo(demo::Options),
    /// Print the OpenAPI document of the interface.
    Openapi,
    /// Print completions for a shell.
    Completions {
        /// Which one.
        shell: Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// It is made where it is not there.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Hold a paused guest; the daemon starts this.
    #[command(name = guard::SUBCOMMAND, hide = true)]
    Guard,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(arguments::normalise(std::env::args_os()));
    let done = match arguments.command {
        None => serve::run(&arguments.config).map(|()| ExitCode::SUCCESS),
        Some(Command::Init(options)) => init::run(&arguments.config, &options),
        Some(Command::Doctor(options)) => doctor::run(&arguments.config, &options),
        Some(Command::Token(options)) => token::run(&arguments.config, &options),
        Some(Command::CheckConfig) => Ok(check_config::run(&arguments.config)),
        Some(Command::Purge(options)) => purge::run(&arguments.config, options),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Openapi) => {
            print!("{}", server::openapi_document());
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Completions { shell }) => {
            manual::completions(Arguments::command(), shell, &mut std::io::stdout())
                .map(|()| ExitCode::SUCCESS)
                .map_err(Into::into)
        }
        Some(Command::Man { folder }) => manual::pages(Arguments::command(), &folder)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Some(Command::Guard) => Ok(guard::run()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("coriolis-ovm-exporter: {}", causes::of(error.as_ref()));
        ExitCode::FAILURE
    })
}
