//! Thousands of small blocks: in one delta, one request each, and against one piece of as many
//! bytes.

use std::time::Instant;

use coriolis_ovm_exporter::client::{Comparison, DiskOf};
use coriolis_ovm_exporter::protocol::Snapshot;
use coriolis_ovm_exporter::protocol::delta::{Compression, Item};
use uuid::Uuid;

use super::Group;
use super::sides::{milliseconds, ratios};
use crate::bench::Bench;
use crate::disks::{self, BLOCK};
use crate::pairs::alternated;
use crate::report::{Bar, Figure};
use crate::stage::{Ground, Stage, clone_of};

pub const GROUP: Group = Group {
    what: "many small blocks",
    names: &[
        "delta_vs_ranges",
        "full_copy_5k_cached",
        "full_copy_5k_cold",
    ],
    space: |sizes| 4 * sizes.blocks * BLOCK,
    measure,
};

/// Blocks from one to the next, so that neighbours can be read together, and so that they cannot.
const NEAR: u64 = 2;
const FAR: u64 = 52;

const EMPTY_AT_FIRST: usize = 0;
const NEAR_DISK: usize = 1;
const FAR_DISK: usize = 2;
const PIECE: usize = 3;

fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.sizes.blocks;
    let sizes = [NEAR, NEAR, FAR, 1].map(|apart| count * apart * BLOCK);
    let ground = Ground::lay((GROUP.space)(&bench.sizes), &sizes)?;
    disks::blocks(ground.disk(NEAR_DISK), 1, count, NEAR)?;
    disks::blocks(ground.disk(FAR_DISK), 2, count, FAR)?;
    disks::blocks(ground.disk(PIECE), 3, count, 1)?;
    let stage = ground.start(bench)?;
    let mut figures = Vec::new();
    if bench.wants("delta_vs_ranges") {
        figures.push(against_requests(bench, &stage)?);
    }
    for (name, cold, bar) in [
        ("full_copy_5k_cached", false, 5.0),
        ("full_copy_5k_cold", true, 10.0),
    ] {
        if bench.wants(name) {
            figures.push(full_copies(bench, &stage, name, cold, bar)?);
        }
    }
    Ok(figures)
}

fn against_requests(bench: &Bench, stage: &Stage) -> anyhow::Result<Figure> {
    let base = stage.snapshot(bench, EMPTY_AT_FIRST)?;
    disks::blocks(stage.disk(EMPTY_AT_FIRST), 4, bench.sizes.blocks, NEAR)?;
    let now = stage.snapshot(bench, EMPTY_AT_FIRST)?;
    disks::cache(clone_of(&now)?)?;
    let requests = || {
        let begun = Instant::now();
        for at in 0..bench.sizes.blocks {
            read(bench, stage, &now, at * NEAR * BLOCK, BLOCK)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    let delta = || {
        delta(
            bench,
            stage,
            &now,
            Some(base.id),
            bench.sizes.blocks * BLOCK,
        )
    };
    let pairs = alternated(bench.sizes.pairs, requests, delta)?;
    let note = format!(
        "{} blocks, 8 KiB apart: {}; the requests one after the other on one connection",
        bench.sizes.blocks,
        milliseconds(&pairs)
    );
    Ok(Figure::of(
        "delta_vs_ranges",
        "×",
        Bar::AtLeast(20.0),
        &ratios(&pairs, |seconds| *seconds),
        note,
    ))
}

fn full_copies(
    bench: &Bench,
    stage: &Stage,
    name: &'static str,
    cold: bool,
    bar: f64,
) -> anyhow::Result<Figure> {
    let piece = stage.snapshot(bench, PIECE)?;
    let prepared = |snapshot: &Snapshot| match cold {
        true => Ok(disks::chill()?),
        false => disks::cache(clone_of(snapshot)?),
    };
    let one_read = || {
        prepared(&piece)?;
        let begun = Instant::now();
        read(bench, stage, &piece, 0, piece.disks[0].size)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let mut found = Vec::new();
    for disk in [FAR_DISK, NEAR_DISK] {
        let snapshot = stage.snapshot(bench, disk)?;
        let copy = || {
            prepared(&snapshot)?;
            delta(bench, stage, &snapshot, None, bench.sizes.blocks * BLOCK)
        };
        let pairs = alternated(bench.sizes.pairs, copy, one_read)?;
        let extents = snapshot.disks[0].extents;
        found.push((extents, ratios(&pairs, |seconds| *seconds), pairs));
    }
    let [(extents, far, pairs), (_, near, near_pairs)] = &found[..] else {
        anyhow::bail!("two disks, and not two results");
    };
    let note = format!(
        "{extents} extents 208 KiB apart: {} of one piece; 8 KiB apart: {} ({:.2} ×)",
        milliseconds(pairs),
        milliseconds(near_pairs),
        crate::report::median(near)
    );
    Ok(Figure::of(name, "×", Bar::AtMost(bar), far, note))
}

fn read(
    bench: &Bench,
    stage: &Stage,
    snapshot: &Snapshot,
    offset: u64,
    length: u64,
) -> anyhow::Result<()> {
    let name = &snapshot.disks[0].name;
    let (vm, client) = (&snapshot.vm_id, &stage.client);
    let received: anyhow::Result<u64> = bench.block_on(async {
        let mut body = client.read(vm, snapshot.id, name, offset, length).await?;
        let mut received = 0;
        while let Some(piece) = body.chunk().await? {
            received += piece.len() as u64;
        }
        Ok(received)
    });
    let received = received?;
    anyhow::ensure!(received == length, "{received} bytes of {length} came");
    Ok(())
}

/// Seconds that a delta takes in which there are so many bytes of data.
fn delta(
    bench: &Bench,
    stage: &Stage,
    snapshot: &Snapshot,
    base: Option<Uuid>,
    data: u64,
) -> anyhow::Result<f64> {
    let disk = DiskOf {
        vm: &snapshot.vm_id,
        snapshot: snapshot.id,
        disk: &snapshot.disks[0].name,
    };
    let comparison = Comparison::to(base);
    let begun = Instant::now();
    let received: anyhow::Result<u64> = bench.block_on(async {
        let delta = stage.client.delta(&disk, &comparison, 0, Compression::None);
        let mut stream = delta.await?;
        let mut received = 0;
        while let Some(item) = stream.next().await? {
            if let Item::Data { bytes, .. } = item {
                received += bytes.len() as u64;
            }
        }
        Ok(received)
    });
    let seconds = begun.elapsed().as_secs_f64();
    let received = received?;
    anyhow::ensure!(received == data, "{received} bytes of {data} came");
    Ok(seconds)
}
