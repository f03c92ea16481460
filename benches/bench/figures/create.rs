//! Taking a snapshot, against a copy of the same file by `cp --reflink` that is written out.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::Group;
use crate::bench::Bench;
use crate::disks;
use crate::pairs::alternated;
use crate::process;
use crate::report::{Bar, Figure, median};
use crate::stage::Stage;

pub const GROUP: Group = Group {
    what: "taking a snapshot",
    names: &["create_vs_cp_1"],
    space: |sizes| sizes.cloned * disks::BLOCK * 2,
    measure,
};

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::set(bench, 1 << 30, &[64 << 20], |disks| {
        disks::fill(&disks[0], 1)
    })?;
    let mut figures = Vec::new();
    figures.push(against_cp(
        bench,
        &stage,
        "create_vs_cp_1",
        Bar::AtMost(1.5),
        bench.sizes.clones,
    )?);
    Ok(figures)
}

fn against_cp(
    bench: &Bench,
    stage: &Stage,
    name: &'static str,
    bar: Bar,
    count: usize,
) -> anyhow::Result<Figure> {
    let extents = std::cell::Cell::new(0);
    let ours = || {
        let begun = Instant::now();
        let snapshot = stage.snapshot(bench, 0)?;
        let seconds = begun.elapsed().as_secs_f64();
        extents.set(snapshot.disks[0].extents);
        stage.delete(bench, &snapshot)?;
        Ok(seconds)
    };
    let copy = stage.repository().join("copy.img");
    let pairs = alternated(count, ours, || cp(stage.disk(0), &copy))?;
    let ratios: Vec<f64> = pairs.iter().map(|(ours, cp)| ours / cp).collect();
    let (ours, cp): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let note = format!(
        "{} extents: {:.1} ms, with the answer, against {:.1} ms of cp --reflink=always and fsync",
        extents.get(),
        median(&ours) * 1e3,
        median(&cp) * 1e3
    );
    Ok(Figure::of(name, "×", bar, &ratios, note))
}

/// Seconds that the copy takes until it is on disk.
fn cp(disk: &Path, copy: &Path) -> anyhow::Result<f64> {
    let begun = Instant::now();
    process::finish(
        Command::new("cp")
            .arg("--reflink=always")
            .args([disk, copy]),
    )?;
    File::open(copy)?.sync_all()?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(copy)?;
    Ok(seconds)
}
