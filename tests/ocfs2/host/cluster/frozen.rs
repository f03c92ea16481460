//! A node stands still, with a lock and at work, until the other one has its lock; then it wakes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::mourning::{DEAD, SURVIVOR};
use super::{EVICTION, MIB, Pool, with_pool};
use crate::host::Lab;
use crate::host::node::PATIENCE;
use crate::orders::{Notice, Order, Uptime};
use crate::scenario::Scenario;

const EXTENTS: u64 = 4000;

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    with_pool(lab, scenario, |lab, pool| {
        let (heavy, disks) = pool.nodes[DEAD].make_machine(1, 0, &[32 * MIB])?;
        pool.nodes[DEAD].tell(&Order::Fragment {
            disk: disks[0].clone(),
            extents: EXTENTS,
        })?;
        let (quiet, _) = pool.make_machine(lab.seed, 2, &[MIB])?;
        for _ in 0..lab.count(1, 5) {
            freeze(pool, &heavy, &quiet)?;
        }
        Ok(())
    })
}

fn freeze(pool: &mut Pool<'_>, heavy: &str, quiet: &str) -> anyhow::Result<()> {
    let mut snapshots = vec![pool.create(DEAD, quiet)?, pool.create(SURVIVOR, quiet)?];
    let held = snapshots[0].id;
    let mut sums = Vec::new();
    for snapshot in &snapshots {
        sums.push(pool.digest(SURVIVOR, snapshot, &snapshot.disks[0])?);
    }
    pool.nodes[DEAD].tell(&Order::Hold { snapshot: held })?;
    pool.nodes[DEAD].wait_for(PATIENCE, locked)?;
    // It is at work, too: creates, one after the other.
    let begun = Instant::now();
    let made = pool.create(DEAD, heavy)?.id;
    let one = begun.elapsed();
    let client = pool.clients[DEAD].clone();
    let vm = heavy.to_owned();
    let at_work = pool.runtime.spawn(async move {
        let mut made = Vec::new();
        while let Ok(snapshot) = client.create_snapshot(&vm).await {
            made.push(snapshot.id);
        }
        made
    });
    std::thread::sleep(one / 2);

    let begun = pool.nodes[SURVIVOR].uptime()?;
    // A kernel that wakes too late restarts itself when its watchdog's turn comes before its next
    // heartbeat is written. On one emulated processor that is a matter of chance: of six, three went
    // on as if they had not been given up. It must not be chance here.
    pool.nodes[DEAD].machine.slow_disk()?;
    pool.nodes[DEAD].machine.freeze(true)?;
    pool.nodes[SURVIVOR].tell(&Order::Hold { snapshot: held })?;
    let granted = pool.nodes[SURVIVOR]
        .wait_for(EVICTION, locked)
        .context("the lock of a node that stands still")?;
    let evicted = pool.nodes[SURVIVOR].wait_for(EVICTION, |notice| match notice {
        Notice::Evicted { at, .. } => Some(*at),
        _ => None,
    })?;
    ensure!(
        granted >= evicted,
        "two holders at once: the lock came {} ms before the eviction",
        evicted - granted
    );
    // The survivor goes on with its work before the other one wakes.
    let newest = pool.create(SURVIVOR, quiet)?;
    sums.push(pool.digest(SURVIVOR, &newest, &newest.disks[0])?);
    snapshots.push(newest);

    pool.nodes[DEAD].machine.freeze(false)?;
    let woken = Instant::now();
    pool.nodes[DEAD]
        .machine
        .wait(PATIENCE)
        .context("it was given up and goes on")?;
    let fenced = woken.elapsed();
    let said = pool.nodes[DEAD].machine.kernel();
    ensure!(
        said.contains("fencing"),
        "it ended without saying why: {said}"
    );
    let answered = pool
        .runtime
        .block_on(async { tokio::time::timeout(PATIENCE, at_work).await })
        .context("requests to a fenced node go on")??;
    let seconds = |at: Uptime| Duration::from_millis(at - begun).as_secs_f64();
    println!(
        "  frozen: eviction after {:.1} s, its lock granted after {:.1} s; woken, it fenced itself \
         after {:.1} s",
        seconds(evicted),
        seconds(granted),
        fenced.as_secs_f64()
    );

    // Nothing of the survivor's is harmed, nothing that was answered is lost.
    for (snapshot, sum) in snapshots.iter().zip(&sums) {
        let found = pool.digest(SURVIVOR, snapshot, &snapshot.disks[0])?;
        ensure!(found == *sum, "snapshot {} has changed", snapshot.id);
    }
    let ids: BTreeSet<_> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    pool.must_list_on(SURVIVOR, quiet, &ids)?;
    pool.nodes[SURVIVOR].tell(&Order::Release)?;
    pool.start_again(DEAD)?;
    pool.must_list(quiet, &ids)?;
    let left = pool.listed(SURVIVOR, heavy)?;
    pool.must_list(heavy, &left)?;
    ensure!(left.contains(&made), "lost: {made}");
    for id in answered {
        ensure!(left.contains(&id), "lost: {id}");
    }
    for id in left {
        pool.delete(DEAD, heavy, id)?;
    }
    for id in ids {
        pool.delete(DEAD, quiet, id)?;
    }
    Ok(())
}

fn locked(notice: &Notice) -> Option<Uptime> {
    match notice {
        Notice::Locked { at, .. } => Some(*at),
        _ => None,
    }
}
