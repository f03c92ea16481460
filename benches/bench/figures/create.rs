//! A disk of one extent and a disk of very many: taking a snapshot, against `cp --reflink` and
//! fsync; a look at the machine and a small read, one disk against the other.

use std::cell::Cell;
use std::time::Instant;

use super::sides::{milliseconds, ratios};
use super::{Group, clones};
use crate::bench::Bench;
use crate::disks;
use crate::pairs::alternated;
use crate::peers::cp;
use crate::report::{Bar, Figure};
use crate::stage::{Ground, Stage};

pub const GROUP: Group = Group {
    what: "taking a snapshot",
    names: &[
        "create_vs_cp_1",
        "create_vs_cp_100k",
        "create_listed_vs_cp_100k",
        "parallel_clones_vs_serial",
        "machine_fragmented_vs_plain",
        "read_fragmented_vs_plain",
    ],
    space: |sizes| sizes.cloned * disks::BLOCK * 2 + PLAIN,
    measure,
};

/// Bytes of the disk of one extent.
const PLAIN: u64 = 64 << 20;
/// Of a small read.
const SMALL: u64 = 4096;
const ONE: usize = 0;
const MANY: usize = 1;
/// Two of half as many extents.
const HALVES: [usize; 2] = [2, 3];

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let extents = bench.sizes.cloned;
    let many = extents * disks::BLOCK * 2;
    let sizes = [PLAIN, many, many / 2, many / 2];
    let ground = Ground::lay((GROUP.space)(&bench.sizes), &sizes)?;
    disks::fill(ground.disk(ONE), 1)?;
    disks::blocks(ground.disk(MANY), 2, extents, 2)?;
    for half in HALVES {
        disks::blocks(ground.disk(half), 3, extents / 2, 2)?;
    }
    let stage = ground.start(bench)?;
    let mut figures = Vec::new();
    for creation in creations(bench) {
        if bench.wants(creation.name) {
            figures.push(creation.against_cp(bench, &stage)?);
        }
    }
    if bench.wants("parallel_clones_vs_serial") {
        figures.push(clones::parallel_against_serial(bench, &stage, &HALVES)?);
    }
    if bench.wants("machine_fragmented_vs_plain") || bench.wants("read_fragmented_vs_plain") {
        figures.extend(small_requests(bench, &stage)?);
    }
    Ok(figures)
}

/// One way to ask for a snapshot.
struct Creation {
    name: &'static str,
    machine: usize,
    bar: Option<Bar>,
    pairs: usize,
    /// The answer lists the extents, as the first generation's did: `cp` lists none, and to look up
    /// each takes the file system about a seventh of what its clone took.
    listed: bool,
}

fn creations(bench: &Bench) -> [Creation; 3] {
    [
        Creation {
            name: "create_vs_cp_1",
            machine: ONE,
            bar: Some(Bar::AtMost(1.5)),
            pairs: bench.sizes.clones,
            listed: false,
        },
        Creation {
            name: "create_vs_cp_100k",
            machine: MANY,
            bar: Some(Bar::AtMost(1.1)),
            pairs: bench.sizes.pairs,
            listed: false,
        },
        Creation {
            name: "create_listed_vs_cp_100k",
            machine: MANY,
            bar: None,
            pairs: bench.sizes.pairs,
            listed: true,
        },
    ]
}

impl Creation {
    fn against_cp(&self, bench: &Bench, stage: &Stage) -> anyhow::Result<Figure> {
        let (extents, stall) = (Cell::new(0), Cell::new(0.0));
        let ours = || {
            stage.settle()?;
            let begun = Instant::now();
            let snapshot = if self.listed {
                stage.snapshot(bench, self.machine)?
            } else {
                stage.bare_snapshot(bench, self.machine)?
            };
            let seconds = begun.elapsed().as_secs_f64();
            extents.set(snapshot.disks[0].extents);
            stall.set(snapshot.disks[0].stall_ms);
            stage.delete(bench, &snapshot)?;
            Ok(seconds)
        };
        let copy = stage.repository().join("copy.img");
        let theirs = || {
            stage.settle()?;
            cp::and_sync(stage.disk(self.machine), &copy)
        };
        let pairs = alternated(self.pairs, ours, theirs)?;
        let answer = if self.listed {
            "the answer lists every extent"
        } else {
            "the answer lists no extents, as a replica's run asks for it"
        };
        let note = format!(
            "{} extents: {} of cp --reflink=always and fsync; {answer}; the disk was held for \
             {:.1} ms the last time",
            extents.get(),
            milliseconds(&pairs),
            stall.get()
        );
        let ratios = ratios(&pairs, |seconds| *seconds);
        Ok(Figure::of(self.name, "×", self.bar, &ratios, note))
    }
}

/// What has nothing to do with the number of extents must not feel it.
fn small_requests(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<Figure>> {
    let snapshots = [stage.snapshot(bench, ONE)?, stage.snapshot(bench, MANY)?];
    let timed = |what: &dyn Fn() -> anyhow::Result<()>| {
        let begun = Instant::now();
        what()?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let look = |machine: usize| {
        timed(&|| {
            let id = &stage.machine(machine).id;
            bench.block_on(stage.client.vm(id))?;
            Ok(())
        })
    };
    let place = Cell::new(0_u64);
    let read = |machine: usize| {
        timed(&|| {
            let snapshot = &snapshots[machine];
            let disk = &snapshot.disks[0];
            place.set(place.get() + 7919);
            let offset = place.get() % (disk.size / SMALL / 2) * 2 * SMALL;
            let (vm, client) = (&snapshot.vm_id, &stage.client);
            let bytes = bench.block_on(async {
                let read = client.read(vm, snapshot.id, &disk.name, offset, SMALL);
                anyhow::Ok(read.await?.bytes().await?)
            })?;
            anyhow::ensure!(bytes.len() as u64 == SMALL, "{} bytes came", bytes.len());
            Ok(())
        })
    };
    let count = bench.sizes.clones * 5;
    let mut figures = Vec::new();
    for (name, what) in [
        (
            "machine_fragmented_vs_plain",
            &look as &dyn Fn(usize) -> anyhow::Result<f64>,
        ),
        ("read_fragmented_vs_plain", &read),
    ] {
        let pairs = alternated(count, || what(MANY), || what(ONE))?;
        let note = format!("{}; a request each, neither larger", milliseconds(&pairs));
        let ratios = ratios(&pairs, |seconds| *seconds);
        figures.push(Figure::of(name, "×", Bar::AtMost(1.3), &ratios, note));
    }
    Ok(figures)
}
