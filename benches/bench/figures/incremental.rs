//! A replica that is brought up to date after 1 % of the disk has changed in blocks of 4 KiB:
//! against rsync, and against a checksum of every block.
//!
//! Each time the disk lies in one piece before, and every replica is what the disk is: blocks that
//! change leave it in twice as many pieces, and every later clone would take longer. The bytes of
//! disk and replicas are not in the page cache, as on a node, whose memory is its guests'.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Group, growth};
use crate::bench::Bench;
use crate::disks::{self, BLOCK};
use crate::peers::scan::Errand;
use crate::peers::{cp, rsync};
use crate::process;
use crate::report::{Bar, Figure, median};
use crate::stage::{Ground, Stage};

pub const GROUP: Group = Group {
    what: "an incremental replica",
    names: &[
        "incremental_vs_rsync",
        "incremental_vs_checksum",
        "incremental_wire_bytes",
        "growth_incremental_time",
    ],
    // The disk, a replica of its own, and what two replicas that are clones get of changes.
    space: |sizes| sizes.replicated * 11 / 4,
    measure,
};

/// Percent of the disk that changes, in hundredths.
const CHANGE: u64 = 100;
const CHANGES: [u64; 4] = [1, 10, 100, 1000];

/// The guest's disk, and who copies it where.
struct Scene<'b> {
    bench: &'b Bench,
    stage: Stage,
    /// Of the random bytes that come next.
    seed: u64,
    /// A clone of the disk as it was at first.
    first: PathBuf,
    /// The checksums of its blocks.
    first_digests: PathBuf,
    ours: PathBuf,
    rsync: PathBuf,
    scan: Errand,
}

/// What one round took, seconds.
#[derive(Default)]
struct Round {
    ours: f64,
    /// Of that, what the file system's clone took.
    stall: f64,
    rsync: f64,
    scan: f64,
    /// Bytes on the network for each that changed, without 32 for each range.
    wire: f64,
}

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut scene = Scene::set(bench)?;
    let mut rounds = Vec::new();
    if GROUP.names[..3].iter().any(|name| bench.wants(name)) {
        for at in 0..bench.sizes.pairs {
            rounds.push(scene.round(at)?);
        }
        scene.check()?;
    }
    let mut figures = scene.figures(&rounds);
    if bench.wants("growth_incremental_time") {
        let mut curve = Vec::new();
        for change in CHANGES {
            let known = (change == CHANGE && !rounds.is_empty())
                .then(|| median(&rounds.iter().map(|round| round.ours).collect::<Vec<_>>()));
            let seconds = known.map_or_else(|| scene.run_after(change), Ok)?;
            curve.push([change as f64 / 100.0, seconds]);
        }
        let what = "seconds of an incremental run over percent of the disk that changed";
        figures.push(growth::figure("growth_incremental_time", &curve, what));
    }
    Ok(figures)
}

impl<'b> Scene<'b> {
    /// A disk full of data, and three replicas of it.
    fn set(bench: &'b Bench) -> anyhow::Result<Scene<'b>> {
        let size = bench.sizes.replicated;
        let ground = Ground::lay((GROUP.space)(&bench.sizes), &[size])?;
        disks::fill(ground.disk(0), 1)?;
        let stage = ground.start(bench)?;
        let folder = stage.repository().join("replicas");
        fs::create_dir(&folder)?;
        let scene = Scene {
            bench,
            seed: 2,
            first: folder.join("first.img"),
            first_digests: folder.join("first.digests"),
            ours: folder.join("ours"),
            rsync: folder.join("rsync.img"),
            scan: Errand {
                source: stage.disk(0).to_owned(),
                replica: folder.join("scan.img"),
                digests: folder.join("digests"),
            },
            stage,
        };
        cp::clone(scene.stage.disk(0), &scene.first)?;
        cp::clone(scene.stage.disk(0), &scene.scan.replica)?;
        // All differs from no checksums at all: what it writes are the same bytes again.
        process::finish(&mut scene.scan.command()?)?;
        fs::copy(&scene.scan.digests, &scene.first_digests)?;
        Ok(scene)
    }

    /// The disk is what it was at first, in one piece, and so are the replicas.
    fn reset(&self) -> anyhow::Result<()> {
        for image in [self.stage.disk(0), &self.rsync, &self.scan.replica] {
            cp::clone(&self.first, image)?;
        }
        fs::copy(&self.first_digests, &self.scan.digests)?;
        self.replicate()?;
        Ok(())
    }

    /// Nothing is under way, and no bytes are cached.
    fn rest(&self) -> anyhow::Result<()> {
        self.stage.settle()?;
        Ok(disks::forget_bytes()?)
    }

    /// The guest writes hundredths of percents. Bytes that changed, and in how many ranges.
    fn change(&mut self, hundredths: u64) -> anyhow::Result<(u64, u64)> {
        let blocks = (self.bench.sizes.replicated / BLOCK * hundredths / 10_000).max(1);
        self.seed += 1;
        let ranges = disks::scatter(self.stage.disk(0), self.seed, blocks)?;
        Ok((blocks * BLOCK, ranges))
    }

    /// Seconds of a run by itself, after so many hundredths of percents have changed.
    fn run_after(&mut self, change: u64) -> anyhow::Result<f64> {
        self.reset()?;
        self.change(change)?;
        self.rest()?;
        self.replicate()
    }

    fn round(&mut self, at: usize) -> anyhow::Result<Round> {
        self.reset()?;
        let (changed, ranges) = self.change(CHANGE)?;
        let mut round = Round::default();
        for turn in 0..3 {
            self.rest()?;
            match (at + turn) % 3 {
                0 => {
                    let before = self.bench.network.bytes()?;
                    round.ours = self.replicate()?;
                    let bytes = self.bench.network.bytes()? - before;
                    round.stall = self.stage.newest_stall(self.bench, 0)?;
                    round.wire = (bytes as f64 - 32.0 * ranges as f64) / changed as f64;
                }
                1 => round.rsync = rsync::update(self.stage.disk(0), &self.rsync)?,
                _ => round.scan = process::finish(&mut self.scan.command()?)?.seconds,
            }
        }
        Ok(round)
    }

    /// A run of the command: snapshot, changes, flush, the old snapshot deleted. Seconds.
    fn replicate(&self) -> anyhow::Result<f64> {
        let mut command = self.stage.command();
        command.args(["replicate", &self.stage.machine(0).id, "--to"]);
        Ok(process::finish(command.arg(&self.ours))?.seconds)
    }

    /// Fast and wrong would be no figure.
    fn check(&self) -> anyhow::Result<()> {
        let disk = self.stage.disk(0);
        let name = disk.file_name().context("a disk without a name")?;
        let ours = self.ours.join(name);
        for replica in [&ours, &self.rsync, &self.scan.replica] {
            process::finish(Command::new("cmp").args([disk as &Path, replica]))?;
        }
        Ok(())
    }

    fn figures(&self, rounds: &[Round]) -> Vec<Figure> {
        let all = |what: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(what).collect() };
        let (ours, size) = (
            median(&all(|round| round.ours)),
            self.bench.sizes.replicated,
        );
        let against = |name, theirs: fn(&Round) -> f64, ratio: fn(&Round) -> f64, who| {
            let note = format!(
                "1 % of {} MiB, in one piece before: {:.2} s of {who} against {ours:.2} s, with \
                 snapshot, flush and the end of the old snapshot; the file system's clone alone \
                 took {:.2} s of these",
                size >> 20,
                median(&all(theirs)),
                median(&all(|round| round.stall)),
            );
            Figure::of(name, "×", Bar::AtLeast(10.0), &all(ratio), note)
        };
        vec![
            against(
                "incremental_vs_rsync",
                |round| round.rsync,
                |round| round.rsync / round.ours,
                "rsync --inplace --no-whole-file",
            ),
            against(
                "incremental_vs_checksum",
                |round| round.scan,
                |round| round.scan / round.ours,
                "a scan with SHA-256 of blocks of 64 KiB",
            ),
            Figure::of(
                "incremental_wire_bytes",
                "× changed",
                Bar::AtMost(1.02),
                &all(|round| round.wire),
                "all that went over the loopback, TCP, TLS, log-in and JSON included, without 32 \
                 bytes for each range",
            ),
        ]
    }
}
