//! Two maps of a million extents: what comparing them takes, in time and in memory.

use std::cell::Cell;
use std::time::Instant;

use coriolis_ovm_exporter::client::{Comparison, DiskOf};
use uuid::Uuid;

use super::sides::{milliseconds, ratios};
use super::{Group, growth};
use crate::bench::Bench;
use crate::disks::{self, BLOCK};
use crate::library::{Library, Taken};
use crate::memory::{self, mebibytes};
use crate::pairs::alternated;
use crate::process;
use crate::report::{Bar, Figure, median};
use crate::stage::{Ground, Stage};

pub const GROUP: Group = Group {
    what: "maps of very many extents",
    names: &[
        "compare_vs_two_passes",
        "compare_vs_two_passes_sandwich",
        "growth_compare_time",
        "rss_compare_1m",
        "ranges_pages_vs_one",
        "rss_ranges_pages",
        "rss_replicate_client",
        "rss_replicate_daemon",
    ],
    // The disk, a replica of it, and the maps themselves, in every snapshot.
    space: |sizes| sizes.extents * BLOCK * 5 / 2,
    measure,
};

/// One of so many blocks is written between the two snapshots.
const CHANGED: u64 = 100;
/// Ranges of a page.
const PAGE: u64 = 100_000;

/// The snapshots of one disk, oldest first.
struct Taking {
    /// Of the disk without any data.
    empty: Taken,
    /// Of all the extents.
    before: Taken,
    /// After some of them were written again.
    now: Taken,
}

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let most = bench.sizes.extents;
    // Disks of ever more extents, a machine each; the last one is what all but the curve is about.
    let counts = [most / 1000, most / 100, most / 10, most];
    let sizes = counts.map(|count| count * 2 * BLOCK);
    let ground = Ground::lay((GROUP.space)(&bench.sizes), &sizes)?;
    let library = Library::open(bench, &ground)?;
    let last = counts.len() - 1;
    let mut curve = Vec::new();
    if bench.wants("growth_compare_time") {
        for (at, count) in counts[..last].iter().copied().enumerate() {
            let taking = take(&library, &ground, at, count)?;
            curve.push([count as f64, compare_time(bench, &library, &taking, count)?]);
        }
    }
    let taking = take(&library, &ground, last, most)?;
    let mut figures = Vec::new();
    // The daemon begins with none of it in its memory, and looks at maps before it does anything
    // that takes more.
    let stage = ground.start(bench)?;
    let node = Node {
        bench,
        stage: &stage,
        machine: last,
    };
    if bench.wants("rss_compare_1m") || bench.wants("rss_ranges_pages") {
        figures.extend(node.memory_of_pages(&taking)?);
    }
    if bench.wants("rss_replicate_client") || bench.wants("rss_replicate_daemon") {
        figures.extend(node.memory_of_a_replica()?);
    }
    if bench.wants("ranges_pages_vs_one") {
        figures.push(node.pages_against_one(&taking)?);
    }
    let mut seconds = None;
    for (name, sealed, bar) in [
        ("compare_vs_two_passes", true, 1.2),
        ("compare_vs_two_passes_sandwich", false, 2.3),
    ] {
        if bench.wants(name) {
            let changes = most / CHANGED;
            let (figure, took) =
                against_two_passes(bench, &library, &taking, changes, name, sealed, bar)?;
            figures.push(figure);
            if sealed {
                seconds = Some(took);
            }
        }
    }
    if bench.wants("growth_compare_time") {
        let compare = || compare_time(bench, &library, &taking, most);
        curve.push([most as f64, seconds.map_or_else(compare, Ok)?]);
        let what = "seconds of a comparison over extents of each map";
        figures.push(growth::figure("growth_compare_time", &curve, what));
    }
    Ok(figures)
}

fn take(library: &Library, ground: &Ground, machine: usize, count: u64) -> anyhow::Result<Taking> {
    let disk = ground.disk(machine);
    let machine = ground.machine(machine);
    let empty = library.take(machine)?;
    disks::blocks(disk, 1, count, 2)?;
    let before = library.take(machine)?;
    disks::blocks(disk, 2, count / CHANGED, CHANGED * 2)?;
    let now = library.take(machine)?;
    Ok(Taking { empty, before, now })
}

/// Median of some comparisons, seconds.
fn compare_time(
    bench: &Bench,
    library: &Library,
    taking: &Taking,
    count: u64,
) -> anyhow::Result<f64> {
    let times: Vec<f64> = (0..bench.sizes.pairs)
        .map(|_| compare(library, taking, count / CHANGED))
        .collect::<Result<_, _>>()?;
    Ok(median(&times))
}

fn compare(library: &Library, taking: &Taking, changes: u64) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let ranges = library.compare(&taking.now, &taking.before)?;
    let seconds = begun.elapsed().as_secs_f64();
    anyhow::ensure!(ranges == changes, "{ranges} ranges, {changes} were written");
    Ok(seconds)
}

/// And what the comparison took, seconds.
fn against_two_passes(
    bench: &Bench,
    library: &Library,
    taking: &Taking,
    changes: u64,
    name: &'static str,
    sealed: bool,
    bar: f64,
) -> anyhow::Result<(Figure, f64)> {
    let both = [&taking.before, &taking.now];
    for taken in both {
        taken.seal(sealed)?;
    }
    let extents = Cell::new([0, 0]);
    let passes = || {
        let begun = Instant::now();
        let counted = [both[0].read_map()?, both[1].read_map()?];
        let seconds = begun.elapsed().as_secs_f64();
        let all_there = counted.iter().all(|count| *count >= changes * CHANGED / 2);
        anyhow::ensure!(all_there, "only {counted:?} extents");
        extents.set(counted);
        Ok(seconds)
    };
    let pairs = alternated(
        bench.sizes.pairs,
        || compare(library, taking, changes),
        passes,
    );
    for taken in both {
        taken.seal(true)?;
    }
    let pairs = pairs?;
    let [before, now] = extents.get();
    let note = format!(
        "{before} and {now} extents, {}: {} of reading each map once",
        if sealed { "immutable" } else { "not immutable" },
        milliseconds(&pairs)
    );
    let ours: Vec<f64> = pairs.iter().map(|(ours, _)| *ours).collect();
    let ratios = ratios(&pairs, |seconds| *seconds);
    let figure = Figure::of(name, "×", Bar::AtMost(bar), &ratios, note);
    Ok((figure, median(&ours)))
}

/// The daemon, asked about the disk.
struct Node<'b> {
    bench: &'b Bench,
    stage: &'b Stage,
    machine: usize,
}

impl Node<'_> {
    /// All pages of what changed; how many ranges that were.
    fn pages(&self, now: Uuid, base: Uuid, disk: &str) -> anyhow::Result<u64> {
        let limit = usize::try_from(PAGE.min(self.bench.sizes.extents / 10))?;
        let disk = DiskOf {
            vm: &self.stage.machine(self.machine).id,
            snapshot: now,
            disk,
        };
        let comparison = Comparison::to(Some(base));
        let (mut from, mut ranges) = (0, 0);
        loop {
            let page = self
                .stage
                .client
                .ranges(&disk, &comparison, from, Some(limit));
            let page = self.bench.block_on(page)?;
            ranges += page.ranges.len() as u64;
            match page.next {
                Some(next) => from = next,
                None => return Ok(ranges),
            }
        }
    }

    fn memory_of_pages(&self, taking: &Taking) -> anyhow::Result<Vec<Figure>> {
        let daemon = self.stage.daemon()?;
        let idle = mebibytes(memory::peak(daemon)?);
        let (now, disk) = (taking.now.id(), taking.now.disk());
        memory::forget(daemon)?;
        let ranges = self.pages(now, taking.before.id(), disk)?;
        let compared = mebibytes(memory::peak(daemon)?);
        memory::forget(daemon)?;
        let all = self.pages(now, taking.empty.id(), disk)?;
        let paged = mebibytes(memory::peak(daemon)?);
        Ok(vec![
            Figure::of(
                "rss_compare_1m",
                "MiB",
                Bar::AtMost(96.0),
                &[compared],
                format!("the daemon's memory; {ranges} ranges came out; {idle:.1} before"),
            ),
            Figure::of(
                "rss_ranges_pages",
                "MiB",
                Bar::AtMost(64.0),
                &[(paged - idle).max(0.0)],
                format!("above idle, for {all} ranges in pages"),
            ),
        ])
    }

    fn pages_against_one(&self, taking: &Taking) -> anyhow::Result<Figure> {
        let (now, empty) = (taking.now.id(), taking.empty.id());
        let vm = &self.stage.machine(self.machine).id;
        let paged = || {
            let begun = Instant::now();
            let ranges = self.pages(now, empty, taking.now.disk())?;
            Ok((begun.elapsed().as_secs_f64(), ranges))
        };
        let at_once = || {
            let begun = Instant::now();
            let snapshot = self.stage.client.snapshot(vm, now, Some(empty));
            let snapshot = self.bench.block_on(snapshot)?;
            let ranges = snapshot.disks[0].chunks.len() as u64;
            Ok((begun.elapsed().as_secs_f64(), ranges))
        };
        let pairs = alternated(self.bench.sizes.pairs, paged, at_once)?;
        anyhow::ensure!(
            pairs.iter().all(|(pages, one)| pages.1 == one.1),
            "pages and one answer differ: {pairs:?}"
        );
        let ranges = pairs.first().map_or(0, |pair| pair.0.1);
        let seconds: Vec<(f64, f64)> = pairs.iter().map(|(one, other)| (one.0, other.0)).collect();
        Ok(Figure::of(
            "ranges_pages_vs_one",
            "×",
            Bar::AtMost(2.0),
            &super::sides::ratios(&seconds, |seconds| *seconds),
            format!("{ranges} ranges: {} in one answer", milliseconds(&seconds)),
        ))
    }

    /// The command's first run: a snapshot, and all of the disk.
    fn memory_of_a_replica(&self) -> anyhow::Result<Vec<Figure>> {
        let daemon = self.stage.daemon()?;
        memory::forget(daemon)?;
        let idle = mebibytes(memory::peak(daemon)?);
        let mut command = self.stage.command();
        command
            .args(["replicate", &self.stage.machine(self.machine).id, "--to"])
            .arg(self.stage.repository().join("replica"));
        let done = process::finish(&mut command)?;
        let peak = mebibytes(memory::peak(daemon)?);
        let extents = self.bench.sizes.extents;
        let told = format!(
            "ovm-exporter replicate, a first run over {extents} extents: {:.1} s",
            done.seconds
        );
        Ok(vec![
            Figure::of(
                "rss_replicate_client",
                "MiB",
                Bar::AtMost(64.0),
                &[mebibytes(done.memory)],
                told.clone(),
            ),
            Figure::of(
                "rss_replicate_daemon",
                "MiB",
                Bar::AtMost(96.0),
                &[peak],
                format!("{told}; {idle:.1} before"),
            ),
        ])
    }
}
