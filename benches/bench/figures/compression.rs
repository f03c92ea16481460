//! The daemon's own choice of compression, against the better of none and Zstandard: over links of
//! several speeds, with data that pack and data that do not.

use coriolis_ovm_exporter::protocol::delta::Compression;

use super::Group;
use super::sides::{self, ratios};
use crate::bench::Bench;
use crate::disks;
use crate::pairs::alternated;
use crate::report::{Bar, Figure, median};
use crate::stage::{Ground, clone_of};
use crate::transfer::Source;

pub const GROUP: Group = Group {
    what: "a choice of compression",
    names: &[
        "compression_auto_50mbit",
        "compression_auto_1gbit",
        "compression_auto_loopback",
    ],
    space: |sizes| 2 * sizes.packed,
    measure,
};

/// Never much worse than whoever knew before.
const BAR: Bar = Bar::AtLeast(0.95);

/// A link, and how much of the disk goes over it.
struct Link {
    name: &'static str,
    /// None: as fast as it is.
    megabits: Option<u32>,
    /// One part in so many.
    part: u64,
}

const LINKS: [Link; 3] = [
    Link {
        name: "compression_auto_50mbit",
        megabits: Some(50),
        part: 128,
    },
    Link {
        name: "compression_auto_1gbit",
        megabits: Some(1000),
        part: 8,
    },
    Link {
        name: "compression_auto_loopback",
        megabits: None,
        part: 1,
    },
];

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let size = bench.sizes.packed;
    let ground = Ground::lay(2 * size, &[size, size])?;
    disks::write_words(ground.disk(0), 1)?;
    disks::fill(ground.disk(1), 2)?;
    let stage = ground.start(bench)?;
    let mut sources = Vec::new();
    for (machine, kind) in ["words", "random bytes"].into_iter().enumerate() {
        let snapshot = stage.snapshot(bench, machine)?;
        disks::cache(clone_of(&snapshot)?)?;
        sources.push((kind, Source::of(&stage, &snapshot)?));
    }
    let mut figures = Vec::new();
    for link in LINKS {
        if bench.wants(link.name) {
            let over = || on(bench, &link, &sources);
            figures.push(match link.megabits {
                Some(megabits) => bench.network.slowed(megabits, over),
                None => over(),
            }?);
        }
    }
    Ok(figures)
}

/// The worse of all kinds of data.
fn on(bench: &Bench, link: &Link, sources: &[(&str, Source)]) -> anyhow::Result<Figure> {
    let size = bench.sizes.packed / link.part;
    let mut worst: Vec<f64> = Vec::new();
    let mut told = Vec::new();
    for (kind, source) in sources {
        let source = source.beginning(size);
        let rate = |choice| anyhow::Ok(source.packed(choice).read()?.rate());
        // Which of the fixed ones is better is many times a pair's own noise, or does not matter.
        let (none, zstd) = (rate(Compression::None)?, rate(Compression::Zstd)?);
        let better = if none >= zstd {
            Compression::None
        } else {
            Compression::Zstd
        };
        let pairs = alternated(
            // What takes a second differs more from time to time than what takes ten.
            bench.sizes.pairs * if link.megabits.is_some() { 1 } else { 3 },
            || rate(Compression::Auto),
            || rate(better),
        )?;
        let ratios = ratios(&pairs, |rate| *rate);
        told.push(format!(
            "{kind}: {} of {} (once before: none {none:.1}, zstd {zstd:.1})",
            sides::told("MB/s", &pairs, |rate| *rate),
            better.as_str(),
        ));
        if worst.is_empty() || median(&ratios) < median(&worst) {
            worst = ratios;
        }
    }
    let note = format!("{} MiB: {}", size >> 20, told.join("; "));
    Ok(Figure::of(link.name, "×", BAR, &worst, note))
}
