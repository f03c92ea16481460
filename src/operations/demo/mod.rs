//! A complete node in a temporary folder, to be tried and tested without Oracle VM.
//!
//! | file | what it makes |
//! | --- | --- |
//! | [`ground`] | a repository's file system: a loop-mounted image, or a folder |
//! | [`agent_databases`], [`machines`] | what OVM would have written: databases, vm.cfg, disks |
//! | [`manager`] | the manager that checks logins |
//! | [`certificates`], [`daemon`] | the real daemon as a child process, and its TLS identity |
//! | [`surroundings`] | what a daemon finds around itself |
//! | [`node`] | all of it together, with the daemon |
//! | [`guest`] | what guests do to their disks |
//! | [`replication`] | what an orchestrator does, over HTTPS |

pub mod agent_databases;
pub mod certificates;
pub mod daemon;
pub mod ground;
pub mod guest;
pub mod machines;
pub mod manager;
pub mod node;
pub mod replication;
pub mod surroundings;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use ground::Ground;
use node::Node;
use surroundings::{Surroundings, Told};

/// Where a daemon looks for the manager unless it is told.
const MANAGER_PORT: u16 = 7002;

/// Options of `coriolis-ovm-exporter demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// A folder on a file system with reflink (XFS, btrfs, OCFS2) to use instead of a
    /// loop-mounted XFS; no root is needed then.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Keep the node up until Ctrl-C and print lines to try, with curl and with the command.
    #[arg(long)]
    keep: bool,
    /// The random numbers' seed, to repeat a run.
    #[arg(long)]
    seed: Option<u64>,
    /// All but the daemon, for one that is started by somebody else: the agent's databases go to this
    /// folder, the manager listens where a daemon looks for it. Stays until Ctrl-C.
    #[arg(long, hide = true, value_name = "DIR", conflicts_with_all = ["json", "keep", "seed"])]
    around: Option<PathBuf>,
}

/// Runs the demo. Whatever happens, nothing stays mounted, attached or running.
///
/// # Errors
/// What could not be set up, and every replica that is not identical.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        tokio::select! {
            done = show(options) => done,
            _ = interrupted.recv() => anyhow::bail!("interrupted; the node is taken down"),
            _ = terminated.recv() => anyhow::bail!("terminated; the node is taken down"),
            _ = hung_up.recv() => anyhow::bail!("hung up; the node is taken down"),
        }
    })
}

async fn show(options: &Options) -> anyhow::Result<ExitCode> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("no random numbers")?,
    };
    let ground = match &options.dir {
        Some(folder) => Ground::folder(folder)?,
        None => Ground::xfs(4 << 30)?,
    };
    if let Some(databases) = &options.around {
        let machines = node::make_machines(&ground.repository())?;
        let around = Surroundings::make(ground, databases, MANAGER_PORT).await?;
        print!("{}", Told(&around, &machines));
        return std::future::pending().await;
    }
    let node = Node::start(ground).await?;
    if !options.json {
        println!(
            "A node with {} machines on {}, seed {seed}:",
            node.machines().len(),
            node.ground()
        );
    }
    let report = replication::run(&node, seed).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    if options.keep {
        println!("\n{}", node.lines_to_try());
        std::future::pending::<()>().await;
    }
    Ok(if report.identical() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
