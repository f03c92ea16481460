//! `coriolis-ovm-exporter purge --orphans`: removes what belongs to nobody.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::config;
use crate::ovm::agent::AgentDatabases;
use crate::ovm::inventory::NodeFiles;
use crate::snapshots::{Orphans, UnmatchedFolder};

/// What to purge.
#[derive(Debug, Clone, Copy, Args)]
pub struct Options {
    /// Folders below CoriolisSnapshots/ that have no manifest and belong to no virtual machine.
    #[arg(long, required = true)]
    pub orphans: bool,
    /// Without asking.
    #[arg(long)]
    pub yes: bool,
}

/// Lists folders that belong to nobody, asks, and removes their files.
///
/// # Errors
/// The configuration's; a question that nobody can answer.
pub fn run(file: &Path, options: Options) -> anyhow::Result<ExitCode> {
    let config = config::load(file)?.config;
    let node = NodeFiles::new(AgentDatabases::new(&config.agent_db_dir));
    let survey = || {
        let (repositories, warnings) = node.look_at_repositories();
        let inventory = node.inventory(&repositories);
        let survey = Orphans::survey(&config.db_file, &repositories, &inventory);
        (survey, warnings)
    };
    let (listed, warnings) = survey();
    for warning in warnings {
        println!("note: {warning}");
    }
    for folder in &listed.kept {
        println!("kept: {}: {}", folder.path.display(), folder.reason);
    }
    if listed.orphans.is_empty() {
        println!("no folder to remove");
        return Ok(ExitCode::SUCCESS);
    }
    for folder in &listed.orphans {
        println!(
            "orphan: {}: {} bytes in {} files: {}",
            folder.path.display(),
            folder.bytes,
            folder.files.len(),
            folder.reason
        );
    }
    if !options.yes && !confirmed(listed.orphans.len())? {
        println!("nothing was removed");
        return Ok(ExitCode::SUCCESS);
    }
    // An answer may take its time: only what still is as it was shown goes.
    let (now, _) = survey();
    let mut all_gone = true;
    for folder in &listed.orphans {
        let still = now.orphans.iter().any(|found| found == folder);
        all_gone &= still && remove(folder);
        if !still {
            println!("kept: {}: it has changed meanwhile", folder.path.display());
        }
    }
    Ok(if all_gone {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn confirmed(count: usize) -> anyhow::Result<bool> {
    let input = io::stdin();
    anyhow::ensure!(
        input.is_terminal(),
        "nothing was removed: there is no terminal to ask on; say --yes to remove without asking"
    );
    print!("Remove the files of {count} folders for good? [y/N] ");
    io::stdout().flush().context("cannot ask")?;
    let mut answer = String::new();
    input
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether the folder is gone.
fn remove(folder: &UnmatchedFolder) -> bool {
    let path = folder.path.display();
    match Orphans::remove(folder) {
        Err(error) => {
            println!("kept: {path}: {error}");
            false
        }
        Ok(removed) if removed.left.is_empty() => {
            println!(
                "removed: {path}: {} files, {} bytes",
                removed.files, removed.bytes
            );
            true
        }
        Ok(removed) => {
            println!("removed: {path}: {} files; the folder stays", removed.files);
            for (path, reason) in removed.left {
                println!("left: {}: {reason}", path.display());
            }
            false
        }
    }
}
