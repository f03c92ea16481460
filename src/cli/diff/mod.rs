//! `diff`.

mod tally;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::arguments::Common;
use super::output::{Cell, Listing};
use super::progress::Progress;
use super::words::refine;
use super::{pages, size, subject};
use crate::client::{Client, Comparison, DiskOf};
use crate::protocol::{ChangeKind, ChangedRange, Refine};
use tally::Tally;

/// Options of `diff`.
#[derive(Debug, Args)]
pub struct DiffOptions {
    /// The older snapshot, and the later one. The machine may be left out.
    #[arg(value_names = ["[VM] SNAPSHOT", "SNAPSHOT"], num_args = 2..=3, required = true)]
    words: Vec<String>,
    /// Only this disk; may be repeated.
    #[arg(long = "disk", value_name = "NAME")]
    disks: Vec<String>,
    /// So many of the largest ranges of each disk.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    largest: usize,
    /// Whether bytes are compared inside of what the maps name: none, auto, 4096.
    #[arg(long, default_value = "auto", value_parser = refine)]
    refine: Refine,
}

pub async fn run(client: &Client, options: &DiffOptions, common: &Common) -> anyhow::Result<()> {
    let (vm, ids) = subject::split(&options.words, 2);
    let (base, snapshot) = (subject::id(&ids[0])?, subject::id(&ids[1])?);
    let subject = subject::find(client, vm, snapshot).await?;
    let comparison = Comparison {
        refine: options.refine,
        ..Comparison::to(Some(base))
    };
    let mut listing = Listing::new(
        &[],
        &[
            "Disk", "Size", "Ranges", "Data", "Zero", "Largest", "Method", "Reason",
        ],
    );
    for disk in subject.chosen(&options.disks)? {
        let of = DiskOf {
            vm: &subject.vm,
            snapshot,
            disk,
        };
        let mut tally = Tally::new(options.largest);
        let mut progress = Progress::new(disk, common.quiet);
        let page = pages::each(client, &of, &comparison, &mut progress, |range| {
            tally.take(range);
        })
        .await
        .with_context(|| format!("cannot compare {disk}"))?;
        progress.end();
        let largest = tally.largest();
        listing.push([
            disk.into(),
            Cell::bytes(page.size),
            tally.ranges.into(),
            Cell::bytes(tally.data),
            Cell::bytes(tally.zeros),
            Cell::new(largest.iter().map(line), json!(largest)),
            page.method.into(),
            page.reason.into(),
        ]);
    }
    common.output.list(listing)
}

fn line(range: &ChangedRange) -> String {
    let kind = match range.kind {
        ChangeKind::Data => "",
        ChangeKind::Zero => ", zero",
    };
    format!("{} at {}{kind}", size::text(range.length), range.start)
}
