//! `compression=auto` beside both fixed choices, on links of different speed: what packs well
//! enough is worth packing for a slow one, and never for the loopback.

use std::fmt::Write as _;

use super::Group;
use crate::bench::Bench;
use crate::disks;
use crate::network::Link;
use crate::report::{Bar, Figure, median};
use crate::stage::{Ground, clone_of};
use crate::transfer::Source;
use coriolis_ovm_exporter::protocol::delta::Compression;

pub const GROUP: Group = Group {
    what: "compression, as the link goes",
    names: &[
        "compression_auto_50mbit",
        "compression_auto_1gbit",
        "compression_auto_loopback",
    ],
    space: |sizes| sizes.packed.iter().sum(),
    measure,
};

const LINKS: [(&str, Link); 3] = [
    ("compression_auto_50mbit", Link::Megabits(50)),
    ("compression_auto_1gbit", Link::Megabits(1000)),
    ("compression_auto_loopback", Link::Unbounded),
];

const CHOICES: [Compression; 3] = [Compression::Auto, Compression::None, Compression::Zstd];

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let sizes = &bench.sizes.packed;
    let ground = Ground::lay(bench, sizes.iter().sum(), sizes)?;
    for at in 0..sizes.len() {
        disks::fill_with_words(ground.disk(at), 1)?;
    }
    let stage = ground.start(bench)?;
    let mut figures = Vec::new();
    for (at, (name, link)) in LINKS.into_iter().enumerate() {
        if !bench.wants(name) {
            continue;
        }
        let snapshot = stage.snapshot(bench, at)?;
        disks::cache(clone_of(&snapshot)?)?;
        let source = Source::of(&stage, &snapshot)?;
        let _slowed = bench.network.slow_down(link)?;
        let mut seconds: [Vec<f64>; 3] = Default::default();
        for round in 0..bench.sizes.pairs {
            for turn in 0..CHOICES.len() {
                let which = (round + turn) % CHOICES.len();
                let read = source.packed(CHOICES[which]).read()?;
                seconds[which].push(read.seconds);
            }
        }
        let [auto, fixed @ ..] = &seconds;
        // Of each round the better one of the fixed choices.
        let ratios: Vec<f64> = auto
            .iter()
            .enumerate()
            .map(|(round, auto)| fixed[0][round].min(fixed[1][round]) / auto)
            .collect();
        let mut note = format!("{} MiB that pack to about 40 %:", sizes[at] >> 20);
        for (choice, seconds) in CHOICES.iter().zip(&seconds) {
            let _ = write!(note, " {} {:.2} s", choice.as_str(), median(seconds));
        }
        figures.push(Figure::of(name, "×", Bar::AtLeast(0.95), &ratios, note));
    }
    Ok(figures)
}
