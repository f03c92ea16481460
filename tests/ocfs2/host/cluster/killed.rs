//! A node loses its power while it creates, while it deletes, and while it merely holds a lock: the
//! other one puts right what is half-made once the cluster has given the dead one up, and never
//! before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use uuid::Uuid;

use super::mourning::{Loss, Mourned};
use super::{MIB, Pool, lock_held, with_pool};
use crate::host::Lab;
use crate::orders::Order;
use crate::scenario::Scenario;

/// So many that clones take a while.
const EXTENTS: u64 = 4000;
/// How often a death that fell between two operations is tried again.
const ATTEMPTS: u32 = 6;

/// The machine of which snapshots are made.
struct Subject {
    vm: String,
    /// SHA-256 of its disk.
    bytes: String,
}

/// What the node is at when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Creating,
    Deleting,
}

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    with_pool(lab, scenario, |lab, pool| {
        let (vm, disks) = pool.nodes[0].make_machine(1, 0, &[32 * MIB])?;
        pool.nodes[0].tell(&Order::Fragment {
            disk: disks[0].clone(),
            extents: EXTENTS,
        })?;
        // Nobody writes to it from now on: every snapshot of it has these bytes.
        let subject = Subject {
            bytes: pool.nodes[0].digest(disks[0].clone())?,
            vm,
        };
        let (bystander, _) = pool.make_machine(lab.seed, 2, &[MIB])?;
        let witness = pool.create(1, &bystander)?;
        let sum = pool.digest(1, &witness, &witness.disks[0])?;

        let mut random = Random::new(lab.seed);
        for work in [Work::Creating, Work::Deleting] {
            for _ in 0..lab.count(1, 5) {
                until_it_falls_inside(pool, &subject, work, &mut random)?;
            }
        }
        for maker in [0, 1] {
            lock_held::die_with_a_lock(pool, &bystander, witness.id, maker)?;
        }

        ensure!(
            pool.digest(1, &witness, &witness.disks[0])? == sum,
            "a snapshot of the survivor's is not what it was"
        );
        pool.delete(0, &bystander, witness.id)
    })
}

fn until_it_falls_inside(
    pool: &mut Pool<'_>,
    subject: &Subject,
    work: Work,
    random: &mut Random,
) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        if die_at_work(pool, subject, work, random).with_context(|| format!("{work:?}"))? {
            return Ok(());
        }
        println!("  the power went between two operations; again");
    }
    anyhow::bail!("{work:?}: no death fell inside an operation in {ATTEMPTS} attempts");
}

/// What was asked of the node that died.
#[derive(Debug, Default)]
struct Asked {
    made: BTreeSet<Uuid>,
    to_delete: BTreeSet<Uuid>,
    deleted: BTreeSet<Uuid>,
}

/// One death. True where it left something half-made.
fn die_at_work(
    pool: &mut Pool<'_>,
    subject: &Subject,
    work: Work,
    random: &mut Random,
) -> anyhow::Result<bool> {
    let vm = subject.vm.as_str();
    let begun = Instant::now();
    let mut before = BTreeSet::from([pool.create(0, vm)?.id]);
    let mut one = begun.elapsed();
    if work == Work::Deleting {
        for _ in 0..3 {
            before.insert(pool.create(0, vm)?.id);
        }
        let begun = Instant::now();
        let first = before.pop_first().context("there is one")?;
        pool.delete(0, vm, first)?;
        one = begun.elapsed();
    }
    let asked = Arc::new(Mutex::new(Asked::default()));
    let busy = pool.runtime.spawn(keep_busy(
        pool.clients[0].clone(),
        vm.to_owned(),
        work,
        before.clone(),
        asked.clone(),
    ));
    // Into the first operation, or the second.
    let one = u64::try_from(one.as_micros())?;
    std::thread::sleep(Duration::from_micros(one / 8 + random.below(one * 3 / 2)));
    let loss = Loss::of_power(pool)?;
    // The connection breaks with the machine.
    pool.runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), busy).await })
        .context("requests to a dead node go on")??;
    let asked = std::mem::take(&mut *asked.lock().expect("no panic"));
    let mourned = loss.mourn(pool)?;
    let hit = match work {
        Work::Creating => mourned.has("undone"),
        Work::Deleting => mourned.has("finished"),
    };
    println!("  {work:?}: {mourned}");
    check(pool, subject, &before, &asked, &mourned)?;
    pool.start_again(0)?;
    let left = pool.listed(1, vm)?;
    pool.must_list(vm, &left)?;
    for id in left {
        pool.delete(0, vm, id)?;
    }
    Ok(hit)
}

/// One request after the other until the node is gone.
async fn keep_busy(
    client: coriolis_ovm_exporter::client::Client,
    vm: String,
    work: Work,
    there: BTreeSet<Uuid>,
    asked: Arc<Mutex<Asked>>,
) {
    let note = || asked.lock().expect("no panic");
    match work {
        Work::Creating => {
            while let Ok(made) = client.create_snapshot(&vm).await {
                note().made.insert(made.id);
            }
        }
        Work::Deleting => {
            for id in there {
                note().to_delete.insert(id);
                if client.delete_snapshot(&vm, id).await.is_err() {
                    return;
                }
                note().deleted.insert(id);
            }
        }
    }
}

/// What was answered counts, on the survivor too.
fn check(
    pool: &mut Pool<'_>,
    subject: &Subject,
    before: &BTreeSet<Uuid>,
    asked: &Asked,
    mourned: &Mourned,
) -> anyhow::Result<()> {
    let vm = subject.vm.as_str();
    let listed = pool.listed(1, vm)?;
    let promised: BTreeSet<Uuid> = before
        .union(&asked.made)
        .filter(|id| !asked.to_delete.contains(id))
        .copied()
        .collect();
    ensure!(
        promised.is_subset(&listed),
        "lost: {:?} ({asked:?}, {mourned})",
        promised.difference(&listed)
    );
    ensure!(
        asked.deleted.is_disjoint(&listed),
        "deleted, and there again: {listed:?} ({asked:?}, {mourned})"
    );
    // At most the one that was being made, or removed, when the power went.
    let unsure = listed.difference(&promised).count();
    ensure!(unsure <= 1, "too many: {listed:?} ({asked:?}, {mourned})");
    // What is listed has every byte, whoever made it.
    for id in listed {
        let client = pool.clients[1].clone();
        let snapshot = pool.run(client.snapshot(vm, id, None))??;
        let found = pool.digest(1, &snapshot, &snapshot.disks[0])?;
        ensure!(found == subject.bytes, "{id} does not read as its disk did");
    }
    Ok(())
}
