//! Random guests: replicas that are kept up to date by deltas and by ranges stay identical.

use std::fs;

use coriolis_ovm_exporter::protocol::delta::Item;
use coriolis_ovm_exporter::protocol::{ChangeKind, ChangedRange};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::comparison::guest::Guest;
use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::super::support::node::Kind;
use super::scene::{DISK, Scene, Taken, apply_ranges, assert_same, decode, python, resized};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stay_identical_on_xfs() {
    run(Kind::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stay_identical_on_btrfs() {
    run(Kind::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stay_identical_on_compressed_btrfs() {
    run(Kind::BtrfsCompressed).await;
}

async fn run(kind: Kind) {
    let seed = Seed::choose();
    println!("{kind:?}, seed {}", seed.0);
    let mut random = StdRng::seed_from_u64(seed.0 ^ 1);
    let scene = Scene::set(kind).await;
    let mut guest = Guest::new(kind, scene.disk.clone(), seed.random());
    let mut taken: Vec<Taken> = vec![scene.take().await];
    for _ in 0..count(5, 150) {
        let older = taken[random.random_range(0..taken.len())].file.clone();
        guest.work(Some(&older));
        let now = scene.take().await;
        let base = &taken[random.random_range(0..taken.len())];
        let refine = ["none", "auto", "4096"][random.random_range(0..3)];
        println!("since {}, refine={refine}: {:?}", base.id, guest.story);
        let query = format!("compareTo={}&refine={refine}", base.id);
        pair(&scene, &now, &base.bytes, &query, &mut random).await;
        // All of it, over whatever a volume holds.
        let mut dirty = base.bytes.clone();
        dirty.reverse();
        pair(&scene, &now, &dirty, "", &mut random).await;
        taken.push(now);
        if taken.len() > 6 {
            taken.remove(0);
        }
    }
}

/// Everything that there is, applied to a replica.
async fn pair(scene: &Scene, now: &Taken, replica: &[u8], query: &str, random: &mut StdRng) {
    let (one, page) = scene.ranges(now, query, 200_000).await;
    assert_eq!(page.size, now.bytes.len() as u64);
    assert_eq!(page.base.is_none(), query.is_empty());
    assert_eq!((page.method.as_str(), &page.reason), ("extents", &None));
    assert_same(
        &apply_ranges(&one, replica, &now.bytes),
        &now.bytes,
        "ranges",
    );
    let limit = random.random_range(1..30);
    let (pages, _) = scene.ranges(now, query, limit).await;
    assert_eq!(pages, one, "pages of {limit}");
    let chunks = scene.chunks(now, query).await;
    if query.is_empty() {
        // The snapshot's own answer leaves zeros out.
        let mut data = one.clone();
        data.retain(|range| range.kind == ChangeKind::Data);
        assert_eq!(chunks, data);
    } else {
        assert_eq!(chunks, one);
    }
    let compression = ["none", "zstd", "lz4", "auto"][random.random_range(0..4)];
    let stream = scene
        .delta(now, &format!("{query}&compression={compression}"))
        .await;
    let step = random.random_range(1..100_000);
    let delta = decode(&stream, step).unwrap();
    assert_eq!(delta.header.disk, DISK);
    assert_same(&delta.apply(replica), &now.bytes, compression);
    if query.is_empty() {
        assert_eq!(delta.totals.data + delta.totals.zeros, page.size, "tiles");
    }
    // Cut, then asked again from somewhere.
    let from = random.random_range(0..=page.size);
    let stream = scene.delta(now, &format!("{query}&from={from}")).await;
    let rest = decode(&stream, step).unwrap();
    assert!(rest.first().is_none_or(|first| first >= from));
    assert_eq!(rest.header.from, from);
    let mut half = resized(replica, page.size);
    let before = usize::try_from(from).unwrap();
    half[..before].copy_from_slice(&now.bytes[..before]);
    assert_same(&rest.apply(&half), &now.bytes, "from");
    segments(scene, now, replica, query, random).await;
    if !query.is_empty() {
        // What comes before is not mentioned, what comes after is.
        assert!(rest.totals.data <= delta.totals.data && rest.totals.zeros <= page.size);
    }
}

/// Segments that meet anywhere, in any order, each resumed once, make the disk; so do pages of
/// ranges that end there.
async fn segments(scene: &Scene, now: &Taken, replica: &[u8], query: &str, random: &mut StdRng) {
    let size = now.bytes.len() as u64;
    let mut cuts = vec![0, size];
    // Not at blocks: a caller may cut anywhere.
    cuts.extend((0..random.random_range(1..5)).map(|_| random.random_range(0..=size)));
    cuts.sort_unstable();
    let mut replica = resized(replica, size);
    let mut by_ranges = replica.clone();
    let mut pairs: Vec<(u64, u64)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    if random.random_bool(0.5) {
        pairs.reverse();
    }
    for (from, to) in pairs {
        let again = random.random_range(from..=to);
        for start in [from, again] {
            let asked = format!("{query}&from={start}&to={to}");
            let delta = decode(&scene.delta(now, &asked).await, 5000).unwrap();
            assert_eq!((delta.header.from, delta.header.end()), (start, to));
            for item in &delta.items {
                let (begin, end) = match item {
                    Item::Data { offset, bytes } => (*offset, *offset + bytes.len() as u64),
                    Item::Zero { offset, length } => (*offset, *offset + *length),
                    Item::Reached(offset) => (*offset, *offset),
                    _ => continue,
                };
                assert!(start <= begin && end <= to, "{asked}: {begin} to {end}");
            }
            if query.is_empty() {
                assert_eq!(delta.totals.data + delta.totals.zeros, to - start, "tiles");
            }
            replica = delta.apply(&replica);
        }
        let path = format!("{query}&from={from}&to={to}&limit=200000");
        let page = scene.get(now, "ranges", &path).await.json();
        assert_eq!(page["next"], serde_json::Value::Null);
        let ranges: Vec<ChangedRange> = serde_json::from_value(page["ranges"].clone()).unwrap();
        let inside = |range: &ChangedRange| range.start >= from && range.start + range.length <= to;
        assert!(ranges.iter().all(inside), "{path}: {ranges:?}");
        by_ranges = apply_ranges(&ranges, &by_ranges, &now.bytes);
    }
    assert_same(&replica, &now.bytes, "segments");
    assert_same(&by_ranges, &now.bytes, "ranges of segments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_written_from_the_document_alone_reads_it() {
    let seed = Seed::choose();
    let scene = Scene::set(Kind::Xfs).await;
    let mut guest = Guest::new(Kind::Xfs, scene.disk.clone(), seed.random());
    let first = scene.take().await;
    guest.work(None);
    let second = scene.take().await;
    let folder = tempfile::tempdir().unwrap();
    let replica = folder.path().join("replica");
    fs::write(&replica, vec![0xEE; 40 << 20]).unwrap();
    let stream = scene.delta(&first, "").await;
    let said = python(&stream, &replica).unwrap();
    assert_same(&fs::read(&replica).unwrap(), &first.bytes, "in full");
    assert_eq!(said["header"]["base"], serde_json::Value::Null);
    let query = format!("compareTo={}&refine=4096", first.id);
    let stream = scene.delta(&second, &query).await;
    let said = python(&stream, &replica).unwrap();
    assert_same(&fs::read(&replica).unwrap(), &second.bytes, "since");
    let totals = decode(&stream, 1000).unwrap().totals;
    assert_eq!(said["totals"]["data"], totals.data);
    assert_eq!(said["header"]["base"], first.id);
    // In segments it comes to the same.
    fs::write(&replica, &first.bytes).unwrap();
    let size = second.bytes.len() as u64;
    for (from, to) in [(size / 3 + 7, size), (0, size / 3 + 7)] {
        let stream = scene
            .delta(&second, &format!("{query}&from={from}&to={to}"))
            .await;
        python(&stream, &replica).unwrap();
    }
    assert_same(&fs::read(&replica).unwrap(), &second.bytes, "segments");
    // It sees what it should not believe.
    let mut damaged = stream.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for wrong in [&damaged[..], &stream[..stream.len() - 1]] {
        python(wrong, &replica).unwrap_err();
        decode(wrong, 1000).unwrap_err();
    }
}
