//! The daemon is killed at each point of each thing that it does, and started again.

mod deed;

use std::os::unix::process::ExitStatusExt;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::snapshots::faults::Point;
use deed::{Deed, Scene};
use nix::sys::signal::Signal;

use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::node::TestNode;

/// Names a point to a daemon that is started.
const FAULT: &str = "CORIOLIS_OVM_EXPORTER_FAULT";

/// Starts a daemon that is killed at a point while it does what it is asked.
pub async fn die_at(node: &mut TestNode, spot: &str, ask: impl AsyncFnOnce(&Api)) {
    node.start_with(&[(FAULT, spot)]).unwrap();
    ask(&Api::of(node).await).await;
    let status = node.take_daemon().wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{spot}");
    let log = node.log();
    let point = spot.split(':').next().unwrap();
    assert!(
        log.lines()
            .last()
            .unwrap()
            .ends_with(&format!("killed at {point}")),
        "{spot}: {log}"
    );
}

/// A place to be killed at: the point, and its how-manieth passing.
#[derive(Debug, Clone, Copy)]
struct Spot {
    point: Point,
    passing: usize,
}

impl Spot {
    /// As the daemon takes it.
    fn text(self) -> String {
        format!("{}:{}", self.point.name(), self.passing)
    }
}

/// Every place that a daemon passes, read from what it logs of them.
fn spots(log: &str) -> Vec<Spot> {
    let passed = |point: &Point| {
        let line = format!("passes {}", point.name());
        log.lines().filter(|logged| logged.ends_with(&line)).count()
    };
    Point::ALL
        .iter()
        .flat_map(|point| {
            (1..=passed(point)).map(|passing| Spot {
                point: *point,
                passing,
            })
        })
        .collect()
}

fn pick<T: Copy>(random: &mut Random, some: &[T]) -> T {
    some[usize::try_from(random.below(some.len() as u64)).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_each_point_of_each_deed_is_recovered_from() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut scene = Scene::set().await;
    let mut all: Vec<(Deed, Spot)> = Vec::new();
    for deed in Deed::ALL {
        let log = scene.watch(deed).await;
        let spots = spots(&log);
        println!("{deed:?}: {} places", spots.len());
        all.extend(spots.into_iter().map(|spot| (deed, spot)));
    }
    let mut chosen = Vec::new();
    for point in Point::ALL.iter().filter(|point| !is_recovery(**point)) {
        let of_point: Vec<_> = all
            .iter()
            .copied()
            .filter(|(_, spot)| spot.point == *point)
            .collect();
        assert!(!of_point.is_empty(), "nothing passes {}", point.name());
        match count(1, 0) {
            0 => chosen.extend(of_point),
            _ => chosen.push(pick(&mut random, &of_point)),
        }
    }
    for (deed, spot) in &chosen {
        scene.kill_at(*deed, &spot.text()).await;
        scene.recover_and_check(*deed).await;
    }
    println!("{} kills at {} places", chosen.len(), all.len());
}

/// Passed only where there is something to recover.
fn is_recovery(point: Point) -> bool {
    point.name().starts_with("recover.")
}

/// What a first crash leaves for recovery to work on.
const LEFT: [(Deed, &str); 9] = [
    (Deed::Create, "directory.hidden:2"),
    (Deed::Create, "create.cloned:1"),
    (Deed::Create, "create.published:1"),
    (Deed::Change, "manifest.beside:1"),
    (Deed::Change, "change.written:1"),
    (Deed::Delete, "delete.marked:1"),
    (Deed::Delete, "delete.disk.gone:1"),
    (Deed::Delete, "tombstone.gone:1"),
    (Deed::Purge, "manifest.gone:2"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_recovery_is_recovered_from() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut scene = Scene::set().await;
    let mut kills = 0;
    let mut passed = String::new();
    for (deed, left_at) in LEFT {
        scene.kill_at(deed, left_at).await;
        let spots = spots(&scene.watch_recovery(deed).await);
        assert!(!spots.is_empty(), "{deed:?} {left_at}: nothing to recover");
        passed.extend(spots.iter().map(|spot| spot.text()));
        println!("{deed:?} {left_at}: recovery passes {} places", spots.len());
        let chosen = match count(1, 0) {
            0 => spots,
            _ => vec![pick(&mut random, &spots)],
        };
        for spot in chosen {
            scene.kill_at(deed, left_at).await;
            assert!(
                scene.start_killed(&spot.text()),
                "{deed:?} {left_at} {spot:?}"
            );
            kills += 2;
            // Once more, at the same place: where there is still something to do it is passed again.
            kills += u32::from(scene.start_killed(&spot.text()));
            scene.recover_and_check(deed).await;
        }
    }
    for point in Point::ALL.iter().filter(|point| is_recovery(**point)) {
        assert!(
            passed.contains(point.name()),
            "nothing passes {}",
            point.name()
        );
    }
    println!("{kills} kills");
}
