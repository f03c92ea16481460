//! Two disks of very many extents, cloned at once and one after the other.
//!
//! The daemon clones the disks of a machine one after the other. This says whether that is still right:
//! the file system does most of the work under locks and in a log that both clones share.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use coriolis_ovm_exporter::sys::reflink::{self, CloneCall};

use super::sides::{milliseconds, ratios};
use crate::bench::Bench;
use crate::pairs::alternated;
use crate::report::{Bar, Figure};
use crate::stage::Stage;

/// A disk, open, and where its clone goes.
type Disk = (File, PathBuf, PathBuf);

/// How long the disks stand still when they are cloned by a thread each, against one after the other.
pub fn parallel_against_serial(
    bench: &Bench,
    stage: &Stage,
    machines: &[usize],
) -> anyhow::Result<Figure> {
    let disks: Vec<Disk> = machines
        .iter()
        .map(|machine| {
            let path = stage.disk(*machine).to_owned();
            let clone = stage.repository().join(format!("clone-{machine}.img"));
            Ok((File::open(&path)?, path, clone))
        })
        .collect::<Result<_, std::io::Error>>()?;
    let timed = |clone: &dyn Fn() -> anyhow::Result<()>| {
        stage.settle()?;
        let begun = Instant::now();
        clone()?;
        let seconds = begun.elapsed().as_secs_f64();
        for (_, _, target) in &disks {
            fs::remove_file(target)?;
        }
        Ok(seconds)
    };
    let at_once = || {
        thread::scope(|scope| {
            let threads: Vec<_> = disks
                .iter()
                .map(|disk| scope.spawn(|| clone(disk)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| anyhow::bail!("a clone panicked"))
            })
        })
    };
    let in_turn = || disks.iter().try_for_each(clone);
    let pairs = alternated(bench.sizes.pairs, || timed(&at_once), || timed(&in_turn))?;
    let note = format!(
        "{} disks of {} extents each: {} one after the other, which the daemon does while this is not \
         far below 1",
        disks.len(),
        bench.sizes.cloned / 2,
        milliseconds(&pairs)
    );
    Ok(Figure::of(
        "parallel_clones_vs_serial",
        "×",
        Bar::AtLeast(0.8),
        &ratios(&pairs, |seconds| *seconds),
        note,
    ))
}

fn clone((disk, path, target): &Disk) -> anyhow::Result<()> {
    reflink::prepare(CloneCall::Ficlone, disk, path, target)?.run()?;
    Ok(())
}
