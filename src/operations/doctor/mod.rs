//! `coriolis-ovm-exporter doctor`: whether this node is fit to serve, and what to do where it is not.
//!
//! Nothing is changed but a scratch file that is cloned on each repository, and removed again. It
//! works beside a running daemon, and takes none of its locks. All checks run in a process of their
//! own ([`apart`]), each in a thread with a time limit ([`round`]): a call to storage that hangs
//! can keep a process from ending, and the one that the admin waits for must end.
//!
//! | file | what it looks at |
//! | --- | --- |
//! | [`configuration`], [`files`], [`certificate`] | what the daemon reads at its start |
//! | [`kernel`], [`service`], [`port`], [`daemon`] | this node, and the daemon on it |
//! | [`agent`], [`manager`] | what Oracle VM tells; the clock by the manager's |
//! | [`index`] | `db_file` |
//! | [`repository`], [`leftovers`] | each repository, and the snapshots on them |

mod agent;
mod apart;
mod certificate;
mod configuration;
mod daemon;
mod files;
mod finding;
mod index;
mod kernel;
mod leftovers;
mod manager;
mod port;
mod repository;
mod round;
mod service;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;

use crate::config;
use crate::ovm::agent::AgentDatabases;
use crate::protocol::duration;
pub use finding::{FORMAT, Finding, Grade, Report};
use round::Round;

/// Options of `coriolis-ovm-exporter doctor`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Print a JSON document.
    #[arg(long)]
    pub json: bool,
    /// How long each check may take, 1s to 10m.
    #[arg(long, default_value = "10s", value_parser = time_limit)]
    pub time_limit: Duration,
    /// Make the checks in this process.
    #[arg(long, hide = true)]
    pub here: bool,
}

/// Prints what was found. Exits with 0 where all is good, 1 for warnings, 2 where something is bad.
///
/// # Errors
/// Where the findings cannot be written as JSON.
pub fn run(file: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if options.here {
        println!(
            "{}",
            serde_json::to_string(&check(file, options.time_limit))?
        );
        return Ok(ExitCode::SUCCESS);
    }
    let report = apart::run(file, options.time_limit);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(report.worst.exit_status()))
}

/// Makes all checks: first those that need nothing from each other, then the repositories that the
/// agent's database names, then what lies on those of them that have answered.
fn check(file: &Path, limit: Duration) -> Report {
    let mut findings = Vec::new();
    let us = nix::unistd::geteuid();
    if !us.is_root() {
        let message = format!("user {us} does not see all that the daemon sees");
        findings.push(Finding::warning("doctor", message, "run it as root"));
    }
    let (of_the_file, loaded) = configuration::check(file);
    findings.extend(of_the_file);
    let mut first = Round::new(limit);
    first.add("kernel", None, kernel::check);
    first.add("service", None, |notes| {
        service::check(notes, Path::new("/"))
    });
    let Some(loaded) = loaded else {
        findings.extend(first.run());
        return Report::of(findings);
    };
    let loaded = Arc::new(loaded);
    let config = Arc::new(loaded.config.clone());
    let agent = AgentDatabases::new(&config.agent_db_dir);
    let known = Arc::new(Mutex::new(Vec::new()));

    let own = loaded.clone();
    first.add("files", None, move |notes| files::check(notes, &own));
    let own = loaded.clone();
    first.add("certificate", None, move |notes| {
        certificate::check(notes, &own.config);
    });
    let own = config.clone();
    first.add("port", None, move |notes| port::check(notes, &own.api));
    let own = config.clone();
    first.add("daemon", None, move |notes| daemon::check(notes, &own.api));
    let own = config.clone();
    first.add("index", None, move |notes| {
        index::check(notes, &own.db_file)
    });
    let (databases, list) = (agent.clone(), known.clone());
    first.add("agent", None, move |notes| {
        agent::check(notes, &databases, &list)
    });
    let (own, databases) = (config.clone(), agent.clone());
    first.add("manager", None, move |notes| {
        manager::check(notes, &own, &databases, limit);
    });
    findings.extend(first.run());

    let mut second = Round::new(limit);
    let looked_at = Arc::new(Mutex::new(Vec::new()));
    let known = round::taken(&known);
    for known in &known {
        let (known, looked_at, config) = (known.clone(), looked_at.clone(), config.clone());
        second.add("mount", Some(known.id.clone()), move |notes| {
            repository::check(notes, known, &config.snapshots, &looked_at);
        });
    }
    findings.extend(second.run());

    let mut third = Round::new(limit);
    // One that did not answer in time counts as one that is not mounted.
    let answered = round::taken(&looked_at);
    third.add("snapshots", None, move |notes| {
        leftovers::check(notes, &config, &known, answered);
    });
    findings.extend(third.run());
    Report::of(findings)
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let limit = duration::parse(text).map_err(|error| error.to_string())?;
    match (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&limit) {
        true => Ok(limit),
        false => Err("it must be from 1s to 10m".to_owned()),
    }
}

/// The configuration that a check needs; the rest of the program has it from [`config::load`].
type Loaded = config::Loaded;
