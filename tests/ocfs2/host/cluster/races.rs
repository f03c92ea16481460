//! Creates, deletes and comparisons of one machine, through both nodes at the same moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use uuid::Uuid;

use super::{Pool, with_pool};
use crate::host::Lab;
use crate::host::node::PATIENCE;
use crate::scenario::Scenario;

/// A node's part in a race.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Create,
    Delete(Uuid),
    Compare { snapshot: Uuid, base: Uuid },
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
struct Done {
    made: Option<Uuid>,
    /// 404: for a comparison, that something of it was deleted meanwhile.
    gone: bool,
    /// 503, tried again.
    busy: u64,
}

pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    with_pool(lab, scenario, |lab, pool| {
        let (vm, _) = pool.make_machine(lab.seed, 1, &[256 << 10, 64 << 10])?;
        let mut random = Random::new(lab.seed);
        let races = lab.count(200, 1000);
        let begun = Instant::now();
        // In the order of their making.
        let mut kept: Vec<Uuid> = Vec::new();
        let (mut busy, mut gone) = (0, 0);
        for _ in 0..races {
            let deeds = draw(&mut random, &kept);
            let done = race(pool, &vm, deeds).with_context(|| format!("{deeds:?}"))?;
            for (deed, done) in deeds.iter().zip(done) {
                busy += done.busy;
                gone += u64::from(done.gone);
                if let Deed::Delete(id) = deed {
                    kept.retain(|kept| kept != id);
                }
                kept.extend(done.made);
            }
            let expected: BTreeSet<Uuid> = kept.iter().copied().collect();
            pool.must_list(&vm, &expected)
                .with_context(|| format!("after {deeds:?}"))?;
        }
        println!(
            "  {races} races in {:.0} s, {busy} times busy, {gone} comparisons overtaken by a delete",
            begun.elapsed().as_secs_f64()
        );
        for (at, id) in kept.into_iter().enumerate() {
            pool.delete(at % 2, &vm, id)?;
        }
        pool.must_list(&vm, &BTreeSet::new())
    })
}

fn draw(random: &mut Random, kept: &[Uuid]) -> [Deed; 2] {
    let mut pick = || {
        let at = random.below(kept.len() as u64);
        usize::try_from(at).unwrap_or(0)
    };
    let (one, other) = (pick(), pick());
    let kind = match kept.len() {
        0..=2 => 0,
        8.. => 4,
        _ => random.below(10),
    };
    let pair = match kind {
        0 | 1 => [Deed::Create, Deed::Create],
        2 | 3 => [Deed::Create, Deed::Delete(kept[one])],
        4 | 5 => [Deed::Delete(kept[one]), Deed::Delete(kept[one])],
        6 => [Deed::Delete(kept[one]), Deed::Delete(kept[other])],
        7 => [compare(kept), Deed::Create],
        8 => [compare(kept), Deed::Delete(kept[0])],
        _ => [compare(kept), Deed::Delete(kept[kept.len() - 1])],
    };
    if random.below(2) == 0 {
        pair
    } else {
        [pair[1], pair[0]]
    }
}

/// The newest with the oldest.
fn compare(kept: &[Uuid]) -> Deed {
    Deed::Compare {
        snapshot: kept[kept.len() - 1],
        base: kept[0],
    }
}

fn race(pool: &mut Pool<'_>, vm: &str, deeds: [Deed; 2]) -> anyhow::Result<[Done; 2]> {
    // The other one is counted below.
    pool.operations += 1;
    let [one, other] = pool.clients.clone();
    let both = async { tokio::join!(insist(&one, vm, deeds[0]), insist(&other, vm, deeds[1])) };
    let (one, other) = pool.run(both)?;
    Ok([one?, other?])
}

/// Does it, again where the answer is 503.
async fn insist(client: &Client, vm: &str, deed: Deed) -> anyhow::Result<Done> {
    let begun = Instant::now();
    let mut done = Done {
        made: None,
        gone: false,
        busy: 0,
    };
    loop {
        let answer = match deed {
            Deed::Create => client.create_snapshot(vm).await.map(|made| Some(made.id)),
            Deed::Delete(id) => client.delete_snapshot(vm, id).await.map(|()| None),
            Deed::Compare { snapshot, base } => client
                .snapshot(vm, snapshot, Some(base))
                .await
                .map(|_| None),
        };
        match answer {
            Ok(made) => return Ok(Done { made, ..done }),
            Err(ClientError::Refused { status, .. })
                if status == 404 && matches!(deed, Deed::Compare { .. }) =>
            {
                return Ok(Done { gone: true, ..done });
            }
            Err(ClientError::Refused { status, .. }) if status == 503 => {
                ensure!(begun.elapsed() < PATIENCE / 2, "busy for ever");
                done.busy += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => bail!("{error}"),
        }
    }
}
