//! SIGKILL at any moment under a load of everything that clients do.

mod guest;
mod reader;

use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use guest::Guest;

use crate::support::api::Api;
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::peace;

const DISK: usize = 128 << 10;

/// What a test has done: one in which nothing happened would prove nothing.
#[derive(Debug, Default)]
struct Tally {
    /// The daemon was killed while it served.
    kills: u32,
    /// It was killed before it was ready.
    early: u32,
    /// The index was removed before a start.
    index_lost: u32,
    /// Snapshots that were answered.
    taken: u32,
    /// Lost answers to creates with a key, whose snapshot was there after the restart.
    completed: u32,
    /// The same, where there was none.
    not_completed: u32,
    /// Lost answers to other requests.
    open: u32,
    /// Snapshots held against what they were.
    checked: u32,
    /// Bytes of theirs.
    checked_bytes: u64,
    /// Bytes that came as downloads, during the load or after it.
    downloaded: u64,
    /// Comparisons whose ranges made the newer of the older.
    compared: u32,
    /// Snapshots that went because their term was over.
    expired: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_and_leaves_nothing() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let more = "[snapshots]\nrecover_interval = \"1s\"\n";
    let mut node = TestNode::prepare(&[Kind::Xfs, Kind::Xfs], more).await;
    let mut guests: Vec<Guest> = [&[0, 0][..], &[0, 1], &[1, 1, 1]]
        .iter()
        .enumerate()
        .map(|(at, repositories)| Guest::new(&node, at, repositories, random.number()))
        .collect();
    let mut tally = Tally::default();
    node.start();
    for _ in 0..count(15, 1000) {
        work_until_killed(&mut node, &mut guests, &mut random, &mut tally).await;
        if random.below(8) == 0 {
            node.start_and_kill(Duration::from_micros(random.below(80_000)));
            tally.early += 1;
        }
        if random.below(16) == 0 {
            std::fs::remove_file(node.path("exporter.db")).unwrap();
            tally.index_lost += 1;
        }
        node.start();
        let api = Api::of(&node).await;
        peace::returns(&node, &api).await;
        for guest in &mut guests {
            guest.check(&api, &mut tally).await;
        }
    }
    println!("seed {seed}: {tally:#?} in {:?}", begun.elapsed());
    assert!(tally.taken > tally.kills / 2 && tally.checked > tally.kills);
    assert!(tally.downloaded > 0 && tally.compared > 0);
    // Both have to happen among many.
    assert!(tally.kills < 200 || (tally.completed > 0 && tally.not_completed > 0));
    let api = Api::of(&node).await;
    for guest in &guests {
        let path = format!("/vms/{}/snapshots", guest.vm);
        assert_eq!(api.delete(&path).await.status, 200);
    }
    assert!(
        node.snapshot_files().is_empty(),
        "{:#?}",
        node.snapshot_files()
    );
}

/// All clients at once, for a random while.
async fn work_until_killed(
    node: &mut TestNode,
    guests: &mut Vec<Guest>,
    random: &mut Random,
    tally: &mut Tally,
) {
    let api = Api::of(node).await;
    let mut readers = Vec::new();
    let mut workers = Vec::new();
    for guest in guests.drain(..) {
        let (vm, book) = (guest.vm.clone(), guest.book.clone());
        let own = Api::with_token(node, &api.token);
        readers.push(tokio::spawn(reader::read(own, vm, book, random.number())));
        let own = Api::with_token(node, &api.token);
        workers.push(tokio::spawn(guest.work(own)));
    }
    // Not a wait for something, but the random moment.
    tokio::time::sleep(Duration::from_micros(random.below(600_000))).await;
    node.kill();
    tally.kills += 1;
    for worker in workers {
        let (guest, taken) = worker.await.unwrap();
        tally.taken += taken;
        guests.push(guest);
    }
    for reader in readers {
        let seen = reader.await.unwrap();
        tally.downloaded += seen.downloaded;
        tally.compared += seen.compared;
    }
}
