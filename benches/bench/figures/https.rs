//! A whole cached disk over HTTPS, one connection: against nginx.

use super::Group;
use crate::bench::Bench;
use crate::disks;
use crate::pairs::alternated;
use crate::peers::nginx::Nginx;
use crate::report::{Bar, Figure, median};
use crate::stage::{Stage, clone_of};
use crate::transfer::{Source, Transfer};

pub const GROUP: Group = Group {
    what: "a whole disk over HTTPS",
    names: &["https_vs_nginx_throughput", "https_vs_nginx_server_cpu"],
    space: |sizes| sizes.disk,
    measure,
};

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::set(bench, bench.sizes.disk, &[bench.sizes.disk], |disks| {
        disks::fill(&disks[0], 1)
    })?;
    let snapshot = stage.snapshot(bench, 0)?;
    let file = clone_of(&snapshot)?;
    disks::cache(file)?;
    let ours = Source::of(&stage, &snapshot)?;
    let nginx = Nginx::serve(&stage, &ours.path(), file)?;
    let theirs = ours.at(nginx.endpoint(), nginx.process()?);
    let mut figures = Vec::new();
    let pairs = alternated(bench.sizes.pairs, || ours.read(), || theirs.read())?;
    figures.push(Figure::of(
        "https_vs_nginx_throughput",
        "×",
        Bar::AtLeast(2.5),
        &ratios(&pairs, Transfer::rate),
        told("MB/s", &pairs, Transfer::rate),
    ));
    figures.push(Figure::of(
        "https_vs_nginx_server_cpu",
        "×",
        Bar::AtMost(0.4),
        &ratios(&pairs, Transfer::server_per_gib),
        told("s/GiB", &pairs, Transfer::server_per_gib),
    ));
    Ok(figures)
}

/// One side against the other, pair by pair.
fn ratios(pairs: &[(Transfer, Transfer)], what: impl Fn(&Transfer) -> f64) -> Vec<f64> {
    let ratio = |(one, other): &(Transfer, Transfer)| what(one) / what(other);
    pairs.iter().map(ratio).collect()
}

/// The medians of both sides.
fn told(unit: &str, pairs: &[(Transfer, Transfer)], what: impl Fn(&Transfer) -> f64) -> String {
    let one: Vec<f64> = pairs.iter().map(|pair| what(&pair.0)).collect();
    let other: Vec<f64> = pairs.iter().map(|pair| what(&pair.1)).collect();
    format!("{:.3} {unit} against {:.3}", median(&one), median(&other))
}
