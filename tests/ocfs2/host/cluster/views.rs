//! What one node makes, the other one has at once.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};

use super::{MIB, Pool, refusal, sha256, with_pool};
use crate::host::Lab;
use crate::orders::{Answer, Order};
use crate::scenario::Scenario;

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    with_pool(lab, scenario, |lab, pool| {
        let (vm, disks) = pool.make_machine(lab.seed, 1, &[4 * MIB, MIB])?;
        for round in 0..lab.count(2, 30) {
            for (here, there) in [(0, 1), (1, 0)] {
                let seed = lab.seed.wrapping_add(u64::from(round));
                once(pool, &vm, &disks[0], seed, here, there)?;
            }
        }
        Ok(())
    })
}

fn once(
    pool: &mut Pool<'_>,
    vm: &str,
    disk: &std::path::Path,
    seed: u64,
    here: usize,
    there: usize,
) -> anyhow::Result<()> {
    let base = pool.create(here, vm)?;
    pool.must_list(vm, &BTreeSet::from([base.id]))?;
    let old = pool.read(here, &base, &base.disks[0])?;
    let Answer::Work { .. } = pool.nodes[here].ask(&Order::Work {
        disk: disk.to_owned(),
        seed,
    })?
    else {
        bail!("work is not answered as such");
    };
    let newer = pool.create(there, vm)?;
    ensure!(newer.created_at > base.created_at, "{newer:#?}");
    pool.must_list(vm, &BTreeSet::from([base.id, newer.id]))?;
    let expected = pool.nodes[here].digest(disk.to_owned())?;
    let mut compared = Vec::new();
    for (node, other) in [(here, there), (there, here)] {
        let client = pool.clients[node].clone();
        let changes = pool.run(client.snapshot(vm, newer.id, Some(base.id)))??;
        let mut replica = old.clone();
        pool.bring_forward(other, &newer, &changes.disks[0], &mut replica)?;
        ensure!(
            sha256(&replica) == expected,
            "a replica differs that was brought forward by {changes:#?}"
        );
        ensure!(changes.disks[1].chunks.is_empty(), "{changes:#?}");
        let sum = pool.digest(node, &newer, &newer.disks[0])?;
        ensure!(sum == expected, "a download differs from the disk");
        compared.push(changes);
    }
    ensure!(compared[0] == compared[1], "compared: {compared:#?}");

    // Each deletes what the other one made.
    pool.delete(there, vm, base.id)?;
    pool.must_list(vm, &BTreeSet::from([newer.id]))?;
    let client = pool.clients[here].clone();
    let gone = [
        pool.run(client.snapshot(vm, base.id, None))?,
        pool.run(client.snapshot(vm, newer.id, Some(base.id)))?,
    ];
    for answer in gone {
        ensure!(refusal(answer)? == 404, "of a deleted snapshot");
    }
    pool.delete(here, vm, newer.id)?;
    pool.must_list(vm, &BTreeSet::new())
}
