//! A machine with ever more snapshots: how long their list takes.

use std::time::Instant;

use super::{Group, growth};
use crate::bench::Bench;
use crate::disks;
use crate::report::{Figure, median};
use crate::stage::Ground;

pub const GROUP: Group = Group {
    what: "a list of snapshots",
    names: &["growth_list_time"],
    space: |sizes| SIZE + sizes.snapshots * (64 << 10),
    measure,
};

/// Bytes of the machine's disk.
const SIZE: u64 = 16 << 20;

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let ground = Ground::lay((GROUP.space)(&bench.sizes), &[SIZE])?;
    disks::fill(ground.disk(0), 1)?;
    let stage = ground.start(bench)?;
    let id = stage.machine(0).id.clone();
    let (mut made, mut curve, mut wanted) = (0, Vec::new(), 1);
    while wanted <= bench.sizes.snapshots {
        while made < wanted {
            stage.snapshot(bench, 0)?;
            made += 1;
        }
        let mut times = Vec::new();
        for _ in 0..bench.sizes.pairs {
            let begun = Instant::now();
            let list = bench.block_on(stage.client.snapshots(&id))?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(list.len() as u64 == made, "{} of {made}", list.len());
        }
        curve.push([made as f64, median(&times)]);
        wanted *= 10;
    }
    let what = "milliseconds of GET /vms/{vm}/snapshots over snapshots";
    Ok(vec![growth::figure("growth_list_time", &curve, what)])
}
