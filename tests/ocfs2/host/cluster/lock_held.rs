//! A node dies with nothing but a lock: whoever asks for it meanwhile is answered, not kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coriolis_ovm_exporter::client::Client;
use uuid::Uuid;

use super::mourning::{DEAD, Loss, SURVIVOR};
use super::{LOCK_TIMEOUT, Pool, refusal};
use crate::host::node::PATIENCE;
use crate::orders::{Notice, Order};

/// How much longer than for a lock a daemon waits for a file system.
const LENIENCE: Duration = Duration::from_secs(10);
/// For an emulated processor that others use too.
const MARGIN: Duration = Duration::from_secs(3);

/// The node that dies holds the lock of a snapshot that `maker` has made. `witness` is a snapshot of
/// the same machine.
pub fn die_with_a_lock(
    pool: &mut Pool<'_>,
    vm: &str,
    witness: Uuid,
    maker: usize,
) -> anyhow::Result<()> {
    let snapshot = pool.create(maker, vm)?.id;
    let both = BTreeSet::from([witness, snapshot]);
    pool.must_list(vm, &both)?;
    pool.nodes[DEAD].tell(&Order::Hold { snapshot })?;
    pool.nodes[DEAD].wait_for(PATIENCE, |notice| {
        matches!(notice, Notice::Locked { .. }).then_some(())
    })?;
    let alive = answered_busy(pool, vm, snapshot).context("with a living holder")?;

    let loss = Loss::of_power(pool)?;
    let look = pool
        .runtime
        .spawn(look_around(pool.clients[SURVIVOR].clone()));
    let dead = answered_busy(pool, vm, snapshot).context("with a dead holder")?;
    let login = loss.log_in(pool)?;
    // That takes up what has come in the meantime, too.
    let now = pool.nodes[SURVIVOR].uptime()?;
    let evicted = loss.wait_for_eviction(pool)?;
    ensure!(
        now < evicted,
        "the eviction came before the answers: nothing was shown"
    );
    let (status, looked) = pool.runtime.block_on(look)??;
    // A request that has been answered "busy" must not delete it now.
    pool.must_list_on(SURVIVOR, vm, &both)?;
    let begun = Instant::now();
    while refused_with_503(pool, vm, snapshot)? {
        ensure!(begun.elapsed() < PATIENCE, "the lock of a dead node stays");
    }
    let freed = pool.nodes[SURVIVOR].uptime()?;
    println!(
        "  a lock held: 503 after {:.1} s, with a dead holder after {:.1} s, a login meanwhile in \
         {} ms, GET /node {status} after {:.1} s; eviction {:.1} s after the death, deleted {:.1} s \
         after it",
        alive.as_secs_f64(),
        dead.as_secs_f64(),
        login.as_millis(),
        looked.as_secs_f64(),
        Duration::from_millis(evicted - loss.at).as_secs_f64(),
        Duration::from_millis(freed - loss.at).as_secs_f64(),
    );
    pool.start_again(DEAD)?;
    pool.must_list(vm, &BTreeSet::from([witness]))
}

/// A delete through the survivor is answered 503 in time. Gives the time.
fn answered_busy(pool: &mut Pool<'_>, vm: &str, snapshot: Uuid) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let client: Client = pool.clients[SURVIVOR].clone();
    let status = refusal(pool.run(client.delete_snapshot(vm, snapshot))?)
        .with_context(|| format!("after {:.1} s", begun.elapsed().as_secs_f64()))?;
    let took = begun.elapsed();
    ensure!(status == 503, "answered {status}");
    ensure!(
        took >= LOCK_TIMEOUT && took < LOCK_TIMEOUT + MARGIN,
        "answered after {took:?}"
    );
    Ok(took)
}

/// `GET /node` reads the repositories: it may wait for a while, not for ever.
async fn look_around(client: Client) -> anyhow::Result<(u16, Duration)> {
    let begun = Instant::now();
    let status = match client.node().await {
        Ok(_) => 200,
        other => refusal(other)?,
    };
    let took = begun.elapsed();
    ensure!(
        matches!(status, 200 | 503) && took < LOCK_TIMEOUT + LENIENCE + MARGIN,
        "GET /node: {status} after {took:?}"
    );
    Ok((status, took))
}

fn refused_with_503(pool: &mut Pool<'_>, vm: &str, snapshot: Uuid) -> anyhow::Result<bool> {
    let client = pool.clients[SURVIVOR].clone();
    match pool.run(client.delete_snapshot(vm, snapshot))? {
        Ok(()) => Ok(false),
        other => {
            ensure!(refusal(other)? == 503, "a delete");
            Ok(true)
        }
    }
}
