//! `verify`.

mod read_only;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::arguments::Common;
use super::output::{Cell, Listing, ReaderGone};
use super::words::{each_once, placed};
use super::{say, subject};
use crate::client::Client;
use crate::client::replicate::{self, Verification};
use crate::client::target::{self, Target};
use read_only::ReadOnly;

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// The machine may be left out.
    #[arg(value_names = ["[VM] SNAPSHOT"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Where the replica is: a file for each disk, of its name.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// This disk in this file or block device; may be repeated. Without --from, no other disk is
    /// looked at.
    #[arg(long = "disk", value_name = "NAME=PATH", value_parser = placed, required_unless_present = "from")]
    disks: Vec<(String, PathBuf)>,
}

/// So many of the blocks that differ are shown to people.
const SHOWN: usize = 10;

pub async fn run(
    client: &Client,
    options: &VerifyOptions,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let (vm, ids) = subject::split(&options.words, 1);
    let subject = subject::find(client, vm, subject::id(&ids[0])?).await?;
    let named = each_once(&options.disks)?;
    // Each has to be a disk of the snapshot, whether or not others are looked at too.
    let mut wanted: Vec<String> = named.keys().cloned().collect();
    subject.chosen(&wanted)?;
    if options.from.is_some() {
        wanted.clear();
    }
    let mut targets: Vec<(String, Arc<dyn Target>)> = Vec::new();
    let mut lengths = Vec::new();
    for disk in subject.chosen(&wanted)? {
        let beside = || Some(options.from.as_ref()?.join(target::file_name(disk).ok()?));
        let path = named.get(disk).cloned().or_else(beside);
        let path = path.with_context(|| format!("where is {disk:?}? Give --disk NAME=PATH"))?;
        let target = ReadOnly::open(&path)?;
        lengths.push(target.file_length()?);
        targets.push((disk.to_owned(), Arc::new(target)));
    }
    if targets.is_empty() {
        bail!(
            "snapshot {} has no disks: there is nothing to compare",
            subject.snapshot
        );
    }
    if !common.quiet {
        say("both sides are read and compared…");
    }
    let mut found = replicate::verify(client, &subject.vm, subject.snapshot, &targets).await?;
    for (disk, length) in found.iter_mut().zip(lengths) {
        judge_length(disk, length);
    }
    let printed = common.output.list(listing(&found));
    if found.iter().all(Verification::is_identical) {
        return printed.map(|()| ExitCode::SUCCESS);
    }
    say("ovm-exporter: the replica is not what the snapshot holds");
    // Whether or not somebody reads the table: the exit code is the verdict.
    match printed {
        Err(error) if !error.is::<ReaderGone>() => Err(error),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// A file that is longer than the disk is another disk, whatever it begins with; a block device may
/// well be longer.
fn judge_length(disk: &mut Verification, file: Option<u64>) {
    let Some(length) = file.filter(|length| *length > disk.size) else {
        return;
    };
    let size = disk.size;
    disk.reason
        .get_or_insert_with(|| format!("it has {length} bytes, the disk has {size}"));
    // Of what was compared, nothing differs: that is not the answer.
    disk.differing.take_if(|differing| differing.is_empty());
}

fn listing(found: &[Verification]) -> Listing {
    let mut listing = Listing::new(
        &[],
        &[
            "Disk",
            "Target",
            "Size",
            "Identical",
            "Block",
            "Differing blocks",
            "Differing at",
            "Reason",
        ],
    );
    for disk in found {
        let differing = disk.differing.as_deref();
        listing.push([
            disk.disk.as_str().into(),
            disk.target.as_str().into(),
            Cell::bytes(disk.size),
            disk.is_identical().into(),
            Cell::bytes(disk.block),
            differing.map(<[u64]>::len).into(),
            Cell::new(places(differing.unwrap_or_default()), json!(differing)),
            disk.reason.as_deref().into(),
        ]);
    }
    listing
}

/// The first of them, one a line.
fn places(differing: &[u64]) -> Vec<String> {
    let mut lines: Vec<String> = differing.iter().take(SHOWN).map(u64::to_string).collect();
    if differing.len() > SHOWN {
        lines.push(format!("and {} more", differing.len() - SHOWN));
    }
    lines
}
