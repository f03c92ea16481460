//! Many streams at once: the daemon's memory, and what each of them gets.

use coriolis_ovm_exporter::protocol::delta::Compression;

use super::Group;
use super::growth;
use crate::bench::Bench;
use crate::disks;
use crate::memory::{self, mebibytes};
use crate::report::{Bar, Figure, median};
use crate::stage::Ground;
use crate::transfer::{Source, Transfer};

pub const GROUP: Group = Group {
    what: "many streams",
    names: &[
        "rss_64_streams",
        "growth_streams_memory",
        "fair_share_8_streams",
    ],
    space: |sizes| sizes.streamed,
    measure,
};

/// Streams that are to get the same.
const RIVALS: u64 = 8;

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let sizes = &bench.sizes;
    let ground = Ground::lay(sizes.streamed, &[sizes.streamed])?;
    disks::fill(ground.disk(0), 1)?;
    let stage = ground.start(bench)?;
    let snapshot = stage.snapshot(bench, 0)?;
    let source = Source::of(&stage, &snapshot)?;
    let daemon = stage.daemon()?;
    let peak = |source: &Source| {
        memory::forget(daemon)?;
        source.read()?;
        anyhow::Ok(mebibytes(memory::peak(daemon)?))
    };
    let idle = mebibytes(memory::peak(daemon)?);
    // They are all at work long before the first one ends.
    let part = source.beginning(sizes.streamed / 2);
    let mut curve = Vec::new();
    let mut streams = 1;
    while streams <= sizes.streams {
        // Not from the cache: reading ahead takes memory too.
        curve.push([streams as f64, peak(&part.streams(streams))?]);
        streams *= 2;
    }
    let delta = peak(&part.as_delta().streams(sizes.streams))?;
    let packed = peak(&part.packed(Compression::Zstd).streams(sizes.streams))?;
    let plain = peak(&part.streams(sizes.streams))?;
    let note = format!(
        "{} streams that all begin before any is read, not cached: {plain:.1} MiB for GETs, \
         {delta:.1} for deltas, {packed:.1} for packed ones; {idle:.1} before the first",
        sizes.streams,
    );
    let mut figures = vec![
        Figure::of(
            "rss_64_streams",
            "MiB",
            Bar::AtMost(128.0),
            &[plain.max(delta).max(packed)],
            note,
        ),
        growth::figure(
            "growth_streams_memory",
            &curve,
            "the daemon's memory (MiB) over streams",
        ),
    ];
    if bench.wants("fair_share_8_streams") {
        figures.push(fairness(bench, &source)?);
    }
    Ok(figures)
}

/// What the slowest of some streams gets.
fn fairness(bench: &Bench, source: &Source) -> anyhow::Result<Figure> {
    let run = |source: &Source| -> anyhow::Result<(Vec<f64>, f64)> {
        let runs: Vec<Transfer> = (0..bench.sizes.pairs)
            .map(|_| source.streams(RIVALS).read())
            .collect::<Result<_, _>>()?;
        let rates: Vec<f64> = runs.iter().map(Transfer::rate).collect();
        let shares = runs.iter().map(|run| run.least_share).collect();
        Ok((shares, median(&rates)))
    };
    // The page cache has nothing of it: what the streams share is the storage as well.
    let (plain, plain_rate) = run(source)?;
    let (delta, delta_rate) = run(&source.as_delta())?;
    let note = format!(
        "of a fair share, {RIVALS} streams until the first one ends, not cached: GETs {:.2} \
         ({plain_rate:.0} MB/s together), deltas {:.2} ({delta_rate:.0} MB/s)",
        median(&plain),
        median(&delta)
    );
    let worse = if median(&plain) < median(&delta) {
        plain
    } else {
        delta
    };
    Ok(Figure::of(
        "fair_share_8_streams",
        "×",
        Bar::AtLeast(0.7),
        &worse,
        note,
    ))
}
