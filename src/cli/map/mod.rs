//! `map`: a disk as a picture.

mod buckets;
mod legend;
mod svg;
mod terminal;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::arguments::Common;
use super::progress::Progress;
use super::words::refine;
use super::{output, pages, subject};
use crate::client::{Client, Comparison, DiskOf};
use crate::protocol::Refine;
use buckets::{Buckets, Layer};
use subject::Subject;

/// Options of `map`.
#[derive(Debug, Args)]
pub struct MapOptions {
    /// The machine may be left out.
    #[arg(value_names = ["[VM] SNAPSHOT"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Show what changed since this older snapshot.
    #[arg(long, value_name = "SNAPSHOT")]
    diff_from: Option<String>,
    /// Only this disk; may be repeated.
    #[arg(long = "disk", value_name = "NAME")]
    disks: Vec<String>,
    /// Whether bytes are compared inside of what the maps name: none, auto, 4096.
    #[arg(long, default_value = "auto", value_parser = refine)]
    refine: Refine,
    /// Write the picture into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// A disk that is to be drawn.
#[derive(Debug)]
struct Picture {
    name: String,
    buckets: Buckets,
    /// Whether it was compared to an older snapshot.
    compared: bool,
}

pub async fn run(client: &Client, options: &MapOptions, common: &Common) -> anyhow::Result<()> {
    if common.output.is_json() {
        bail!("a map is a picture and has no form as JSON; numbers are in: diff -f json");
    }
    let (vm, ids) = subject::split(&options.words, 1);
    let subject = subject::find(client, vm, subject::id(&ids[0])?).await?;
    let base = options.diff_from.as_deref().map(subject::id).transpose()?;
    let comparison = Comparison {
        refine: options.refine,
        ..Comparison::to(base)
    };
    let screen = terminal::Screen::of_environment();
    let cells = match &options.svg {
        Some(_) => svg::CELLS,
        None => screen.cells(),
    };
    let mut pictures = Vec::new();
    for disk in subject.chosen(&options.disks)? {
        pictures.push(picture(client, &subject, disk, &comparison, cells, common.quiet).await?);
    }
    let mut title = format!("Snapshot {} of {}", subject.snapshot, subject.vm);
    if let Some(base) = base {
        title += &format!("\ncompared to {base}");
    }
    match &options.svg {
        Some(file) => std::fs::write(file, svg::document(&title, &pictures))
            .with_context(|| format!("cannot write {}", file.display())),
        None => output::write(&screen.draw(&title, &pictures)),
    }
}

async fn picture(
    client: &Client,
    subject: &Subject,
    disk: &str,
    comparison: &Comparison,
    cells: usize,
    quiet: bool,
) -> anyhow::Result<Picture> {
    let of = DiskOf {
        vm: &subject.vm,
        snapshot: subject.snapshot,
        disk,
    };
    let failed = || format!("cannot read the map of {disk}");
    let size = client
        .ranges(&of, &Comparison::default(), 0, Some(1))
        .await
        .with_context(failed)?
        .size;
    let mut buckets = Buckets::new(size, cells);
    let mut progress = Progress::new(disk, quiet);
    let whole = Comparison::default();
    pages::each(client, &of, &whole, &mut progress, |range| {
        buckets.take(Layer::Whole, &range);
    })
    .await
    .with_context(failed)?;
    if comparison.base.is_some() {
        pages::each(client, &of, comparison, &mut progress, |range| {
            buckets.take(Layer::Changes, &range);
        })
        .await
        .with_context(|| format!("cannot compare {disk}"))?;
    }
    progress.end();
    Ok(Picture {
        name: disk.to_owned(),
        buckets,
        compared: comparison.base.is_some(),
    })
}
