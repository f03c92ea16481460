//! Many streams at once, and the daemon's memory.

use super::Group;
use super::growth;
use crate::bench::Bench;
use crate::disks;
use crate::memory::{self, mebibytes};
use crate::report::{Bar, Figure};
use crate::stage::Ground;
use crate::transfer::Source;

pub const GROUP: Group = Group {
    what: "many streams",
    names: &["rss_64_streams", "growth_streams_memory"],
    space: |sizes| sizes.streamed,
    measure,
};

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
    let mut curve = Vec::new();
    let mut streams = 1;
    while streams <= sizes.streams {
        // Not from the cache: reading ahead takes memory too.
        curve.push([streams as f64, peak(&source.streams(streams))?]);
        streams *= 2;
    }
    let delta = peak(&source.as_delta().streams(sizes.streams))?;
    let plain = peak(&source.streams(sizes.streams))?;
    let note = format!(
        "{} streams that all begin before any is read, not cached: {plain:.1} MiB for GETs, \
         {delta:.1} for deltas; {idle:.1} before the first",
        sizes.streams,
    );
    Ok(vec![
        Figure::of(
            "rss_64_streams",
            "MiB",
            Bar::AtMost(128.0),
            &[plain.max(delta)],
            note,
        ),
        growth::figure(
            "growth_streams_memory",
            &curve,
            "the daemon's memory (MiB) over streams",
        ),
    ])
}
