//! The exporter's library, and its daemon, on a real OCFS2: `make test-ocfs2`.
//! The exporter on a real OCFS2: `make test-ocfs2`, and in a cluster: `make test-cluster`.
//!
//! One static program on both sides. On the host it makes OCFS2 images, boots a small virtual
//! machine for each scenario (`scripts/setup-ocfs2.sh` has its kernel) and runs itself in it; there
//! it mounts the images and works on them. Arguments: names of scenarios, none for all
//! of a single machine, `cluster` for all of two.
//!
//! A new scenario is a row in `scenario.rs`: its images, what runs in the machine, and, where a
//! boot that is waited for is not all, what the host does meanwhile.

#![allow(clippy::unwrap_used)]

mod brief;
mod guest;
mod host;
mod node;
mod orders;
mod scenario;
mod wire;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "guest") {
        let name = arguments.get(1).context("guest needs a scenario's name")?;
        guest::run(scenario::named(name)?);
        return Ok(());
    }
    if !cfg!(target_feature = "crt-static") {
        bail!("a machine without libraries needs a static program: use `make test-ocfs2`");
    }
    // What the standard harness would take, such as --nocapture, means nothing here.
    arguments.retain(|argument| !argument.starts_with('-'));
    host::run(&arguments)
}
