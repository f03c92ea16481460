use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::shared_state::SharedState;
use super::workers::{WorkerOptions, Workers};
use super::{SOONEST, neighbours};
use crate::cli::snapshot::{ConsistencyName, lifetime};
use crate::cli::words::{compression, placed, refine};
use crate::client::Client;
use crate::client::replicate::{LEAST_RATE, Replication, StateStore as _};
use crate::client::target::{self, TargetOptions};
use crate::protocol::delta::Compression;
use crate::protocol::{Lifetime, Refine, duration, size};

/// Options of `replicate`.
#[derive(Debug, Args)]
pub struct ReplicateOptions {
    /// The machine.
    pub vm: String,
    /// Where the replica is kept: a file for each disk, of its name.
    #[arg(long, value_name = "DIR", required_unless_present = "state")]
    pub to: Option<PathBuf>,
    /// What is known of the replica [default: .ovm-exporter-ID.json in DIR, by the machine's id].
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// This disk to this file or block device; may be repeated.
    #[arg(long = "disk", value_name = "NAME=PATH", value_parser = placed)]
    pub disks: Vec<(String, PathBuf)>,
    /// This disk, and others that are named so, and no more.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The block devices, and the volumes of workers, are new and hold zeros only; for the first run
    /// alone.
    #[arg(long)]
    zeroed: bool,
    /// Files and devices that hold something already, and no replica of this state, may be
    /// overwritten.
    #[arg(long)]
    overwrite: bool,
    /// Zeros on block devices give their room back to the storage below.
    #[arg(long)]
    discard: bool,
    /// Read every disk back and compare it before the run counts.
    #[arg(long)]
    verify: bool,
    /// Again and again, that long after the end of each run, until SIGINT or SIGTERM: such as 5m.
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub every: Option<Duration>,
    /// After each run, what became of it, for node_exporter's textfile collector: NAME.prom, one for each
    /// replica. Everybody may read it; a file there that holds something else is refused.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// What the snapshots are called.
    #[arg(long)]
    label: Option<String>,
    /// The daemon deletes a snapshot after that time, such as 36h: longer than a run, and than the
    /// time between two.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<Lifetime>,
    /// Whether all disks are to be of one moment.
    #[arg(long, value_enum)]
    consistency: Option<ConsistencyName>,
    /// How the bytes travel: none, lz4, zstd, or auto: packed as long as the link is what takes
    /// the time.
    #[arg(long, default_value = "none", value_parser = compression)]
    compression: Compression,
    /// Whether bytes are compared inside of what the maps name: none, auto, 4096.
    #[arg(long, default_value = "auto", value_parser = refine)]
    refine: Refine,
    /// Bytes of disks that come from the nodes each second at most, all streams together: such as 10M
    /// (K, M and G are powers of 1024).
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    limit_rate: Option<u64>,
    /// Disks at the same time, at most 64.
    #[arg(long, value_name = "COUNT", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64), hide_short_help = true)]
    parallel: Option<usize>,
    #[command(flatten)]
    workers: WorkerOptions,
}

impl ReplicateOptions {
    /// Where the state of the machine of that id is: one, however the machine was named.
    pub fn state_file(&self, id: &str) -> anyhow::Result<PathBuf> {
        if let Some(file) = &self.state {
            return Ok(file.clone());
        }
        let folder = self.to.as_ref().context("give --to or --state")?;
        let name: String = id
            .chars()
            .map(|letter| if letter == '/' { '_' } else { letter })
            .collect();
        Ok(folder.join(format!(".ovm-exporter-{name}.json")))
    }

    /// What tells this replica from others of the same machine: its folder, else its state.
    pub fn place(&self) -> anyhow::Result<PathBuf> {
        let place = self.to.as_ref().or(self.state.as_ref());
        Ok(std::path::absolute(place.context("give --to or --state")?)?)
    }

    /// The disks that are told where to go.
    pub fn placed_disks(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let here = self.disks.iter().map(|(name, _)| ("--disk", name.as_str()));
        here.chain(self.workers.disks().map(|name| ("--to-writer", name)))
    }

    /// The workers that disks go to.
    ///
    /// # Errors
    /// Where a disk goes to two places, or cannot be verified and is to be, or what is needed to speak to a worker is missing.
    pub fn workers(&self) -> anyhow::Result<Workers> {
        for name in self.workers.disks() {
            if self.disks.iter().any(|(other, _)| other == name) {
                bail!("--disk {name}=… and --to-writer {name}=…: give one of them");
            }
        }
        if self.verify
            && let Some(name) = self.workers.unverifiable()
        {
            bail!(
                "--verify: what --writer-command writes cannot be verified, and {name} goes there; \
                 leave --verify out, or name a worker over HTTPS (--to-writer {name}=https://…)"
            );
        }
        self.workers.workers()
    }

    /// A run.
    pub fn replication(
        &self,
        clients: Vec<Client>,
        state: SharedState,
        workers: &Workers,
        is_untouched: bool,
    ) -> Replication {
        let mut run = Replication::of(&self.vm)
            .state(state.clone())
            .refine(self.refine)
            .compression(self.compression);
        for client in clients {
            run = run.from(client);
        }
        if !self.only.is_empty() {
            run = run.disks(&self.only);
        }
        if let Some(label) = &self.label {
            run = run.label(label);
        }
        if let Some(term) = self.expires_in {
            run = run.expires_in(term.0);
        }
        if let Some(consistency) = self.consistency {
            run = run.consistency(consistency.into());
        }
        if self.verify {
            run = run.verified();
        }
        if self.overwrite {
            run = run.overwrite();
        }
        if let Some(rate) = self.limit_rate {
            run = run.limit_rate(rate);
        }
        if let Some(disks) = self.parallel {
            run = run.parallel_disks(disks);
        }
        let named: BTreeMap<String, PathBuf> = self.disks.iter().cloned().collect();
        let folder = self.to.clone();
        let ours = state.name();
        let how = TargetOptions {
            // A run that broke off may have written to them.
            declared_zeroed: self.zeroed && is_untouched,
            discard: self.discard,
        };
        let workers = workers.clone();
        run.targets(move |disk| {
            if let Some(volume) = workers.open(&disk.name, how.declared_zeroed)? {
                return Ok(Some(volume));
            }
            let path = match (named.get(&disk.name), &folder) {
                (Some(path), _) => path.clone(),
                (None, Some(folder)) => folder.join(target::file_name(&disk.name)?),
                (None, None) => return Ok(None),
            };
            let path = target::settled(&path)?;
            if let Some(folder) = &folder {
                neighbours::leave_alone(folder, Path::new(&ours), &path)?;
            }
            target::open(&path, &how).map(Some)
        })
    }
}

/// Reads bytes a second.
fn rate(text: &str) -> Result<u64, String> {
    let rate = size::parse(text).map_err(|error| format!("{error}; it is {}", size::ACCEPTED))?;
    if rate < LEAST_RATE {
        return Err(format!(
            "a node gives up a client that is so slow; the lowest is {}",
            size::format(LEAST_RATE)
        ));
    }
    Ok(rate)
}

/// Reads the time between two runs.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = duration::parse(text).map_err(|error| error.to_string())?;
    if pause < SOONEST {
        return Err(format!("it is less than {}", duration::format(SOONEST)));
    }
    Ok(pause)
}
