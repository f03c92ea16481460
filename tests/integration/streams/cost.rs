//! Only what changed is sent, and nothing piles up.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use coriolis_ovm_exporter::client::{Client, Comparison, DiskOf};
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::protocol::Refine;
use coriolis_ovm_exporter::protocol::delta::Compression;

use super::super::comparison::seed::Seed;
use super::super::support::counts::count;
use super::super::support::node::{Kind, TestNode};
use super::super::support::wire::Dialler;
use super::scene::{DISK, Scene, VM, assert_same, decode};

const BLOCK: u64 = 4096;

/// A disk of data.
fn filled(scene: &Scene, size: u64, seed: u64) -> File {
    let disk = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&scene.disk)
        .unwrap();
    let (mut random, mut bytes) = (Random::new(seed), vec![0; 1 << 20]);
    for at in 0..size >> 20 {
        random.fill(&mut bytes);
        disk.write_all_at(&bytes, at << 20).unwrap();
    }
    disk.sync_all().unwrap();
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_blocks_of_a_gigabyte() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let mut random = Random::new(seed.0);
    let scene = Scene::set(Kind::Xfs).await;
    let disk = filled(&scene, 64 << 20, seed.0);
    disk.set_len(1 << 30).unwrap();
    let base = scene.take_unread().await;
    let mut block = vec![0; 4096];
    for _ in 0..100 {
        random.fill(&mut block);
        disk.write_all_at(&block, random.below((1 << 30) / BLOCK) * BLOCK)
            .unwrap();
    }
    let now = scene.take_unread().await;
    let query = format!("compareTo={}", base.id);
    let stream = scene.delta(&now, &query).await;
    let delta = decode(&stream, 1 << 20).unwrap();
    println!("{} bytes for 409,600", stream.len());
    assert!(stream.len() <= 409_600 * 11 / 10, "{}", stream.len());
    assert!(delta.totals.data <= 409_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_block_in_a_megabyte_that_was_rewritten() {
    let seed = Seed::choose();
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let scene = Scene::set(kind).await;
        let disk = filled(&scene, 32 << 20, seed.0);
        let base = scene.take().await;
        let mut region = vec![0; 1 << 20];
        for at in 0..30_u64 {
            disk.read_exact_at(&mut region, at << 20).unwrap();
            let block = usize::try_from(at * 7 % 256 * BLOCK).unwrap();
            region[block] ^= 1;
            disk.write_all_at(&region, at << 20).unwrap();
        }
        let now = scene.take().await;
        let query = format!("compareTo={}&refine=4096", base.id);
        let stream = scene.delta(&now, &query).await;
        let delta = decode(&stream, 1 << 20).unwrap();
        assert_same(&delta.apply(&base.bytes), &now.bytes, "refined");
        assert_eq!(delta.totals.data, 30 * BLOCK);
        assert!(stream.len() <= 30 * 4096 * 11 / 10, "{}", stream.len());
        // Blocks of zeros inside of data, and what packs.
        let name = format!("compareTo={}&compression=zstd", base.id);
        disk.write_all_at(&vec![0; 1 << 20], 3 << 20).unwrap();
        disk.write_all_at(&vec![5; 1 << 20], 5 << 20).unwrap();
        let later = scene.take().await;
        let query = name.replace(&base.id, &now.id);
        let stream = scene.delta(&later, &query).await;
        let delta = decode(&stream, 1 << 20).unwrap();
        assert_same(&delta.apply(&now.bytes), &later.bytes, "zeros");
        assert_eq!((delta.totals.data, delta.totals.zeros), (1 << 20, 1 << 20));
        assert!(stream.len() < 4096, "{}", stream.len());
        // So little is always packed, whatever the link.
        let query = query.replace("zstd", "auto");
        let stream = scene.delta(&later, &query).await;
        let delta = decode(&stream, 1 << 20).unwrap();
        assert_same(&delta.apply(&now.bytes), &later.bytes, "auto");
        assert!(stream.len() < 4096, "{}", stream.len());
    }
}

/// The largest resident memory since the last call, bytes.
fn peak(node: &TestNode) -> u64 {
    let process = format!("/proc/{}", node.daemon_id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    fs::write(format!("{process}/clear_refs"), "5").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Memory of the daemon's pool that streams hold now, bytes.
async fn held(scene: &Scene) -> u64 {
    let mut wire = Dialler::of(&scene.node).open().await.unwrap();
    let token = format!("Authorization: Bearer {}\r\n", scene.api.token);
    let answer = wire.ask("GET", "/metrics", &token).await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("ovm_exporter_buffers_bytes "))
        .unwrap();
    value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_extents_take_little_memory() {
    let extents = u64::from(count(8_000, 200_000));
    let scene = Scene::set(Kind::Xfs).await;
    let disk = File::create_new(&scene.disk).unwrap();
    disk.set_len(extents * 2 * BLOCK).unwrap();
    let base = scene.take_unread().await;
    for at in 0..extents {
        disk.write_all_at(&[7; 4096], at * 2 * BLOCK).unwrap();
    }
    disk.sync_all().unwrap();
    let now = scene.take_unread().await;
    let query = format!("compareTo={}", base.id);
    peak(&scene.node);
    let idle = peak(&scene.node);
    let begun = std::time::Instant::now();
    let (one, _) = scene.ranges(&now, &query, 200_000).await;
    let (all_at_once, memory) = (begun.elapsed(), peak(&scene.node) - idle);
    let begun = std::time::Instant::now();
    let (pages, _) = scene.ranges(&now, &query, one.len() / 7).await;
    println!(
        "{} ranges: {all_at_once:?} at once with {memory} bytes, {:?} in 8 pages",
        one.len(),
        begun.elapsed()
    );
    assert_eq!(pages, one);
    assert_eq!(one.len() as u64, extents);
    assert!(memory <= 64 << 20, "{memory} bytes");
    let (first, _) = scene.ranges(&now, "", 12_345).await;
    assert_eq!(first.len() as u64, 2 * extents, "data and holes");
    let stream = scene.delta(&now, &query).await;
    let delta = decode(&stream, 1 << 20).unwrap();
    assert_eq!(delta.totals.data, extents * BLOCK);
    let memory = peak(&scene.node) - idle;
    assert!(memory <= 64 << 20, "{memory} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_whose_clients_do_not_read_take_little_memory() {
    let scene = Scene::set(Kind::Xfs).await;
    let disk = filled(&scene, 64 << 20, 5);
    scene.take_unread().await;
    drop(disk);
    let general = scene.node.client().await;
    let now = general.snapshots(VM).await.unwrap().remove(0);
    let path = &now.disks[0].path;
    for is_cached in [true, false] {
        if is_cached {
            drop(fs::read(path).unwrap());
        } else {
            let file = File::open(path).unwrap();
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
        }
        peak(&scene.node);
        let (mut reads, mut deltas) = (Vec::new(), Vec::new());
        for number in 0..64 {
            let (endpoint, token) = (scene.node.endpoint(), general.token());
            // Connections of its own.
            let client = Client::with_token(&endpoint, &token, &scene.node.trust()).unwrap();
            if number % 2 == 0 {
                let name = &now.disks[0].name;
                let read = client.read(&now.vm_id, now.id, name, 0, 64 << 20).await;
                let mut body = read.unwrap();
                assert!(body.chunk().await.unwrap().is_some());
                reads.push((client, body));
            } else {
                let disk = DiskOf {
                    vm: &now.vm_id,
                    snapshot: now.id,
                    disk: &now.disks[0].name,
                };
                let whole = Comparison::default();
                let delta = client.delta(&disk, &whole, 0, Compression::None).await;
                deltas.push((client, delta.unwrap()));
            }
        }
        // 32 MiB, and where those that came first hold all of it, a quarter of its part for each of the
        // others, at least one buffer of 64 KiB: one that is sent, and one of which the rest lies in the
        // connection.
        let most = 2 * (32 << 20) + 64 * 2 * (64 << 10);
        let pool = held(&scene).await;
        println!("cached: {is_cached}, {pool} bytes of the pool");
        assert!(pool <= most, "cached: {is_cached}, {pool} bytes");
        // All of them can go on.
        for (_, body) in &mut reads {
            assert!(body.chunk().await.unwrap().is_some());
        }
        for (_, delta) in &mut deltas {
            assert!(delta.next().await.unwrap().is_some());
        }
        let (memory, pool) = (peak(&scene.node), held(&scene).await);
        println!("cached: {is_cached}, {memory} bytes, {pool} of the pool");
        assert!(memory <= 128 << 20, "cached: {is_cached}, {memory} bytes");
        assert!(pool <= most, "cached: {is_cached}, {pool} bytes");
    }
}

/// Each compares bytes of both snapshots, in memory that is the pool's as well.
#[tokio::test(flavor = "multi_thread")]
async fn many_comparisons_of_bytes_take_little_memory() {
    const SIZE: u64 = 16 << 20;
    let scene = Scene::set(Kind::Xfs).await;
    let disk = filled(&scene, SIZE, 7);
    let base = scene.take_unread().await;
    // The maps name all of it, and the bytes one block in each MiB.
    let mut bytes = vec![0; 1 << 20];
    for at in 0..SIZE >> 20 {
        disk.read_exact_at(&mut bytes, at << 20).unwrap();
        bytes[4096 * 3] ^= 1;
        disk.write_all_at(&bytes, at << 20).unwrap();
    }
    disk.sync_all().unwrap();
    let now = scene.take_unread().await;
    let (endpoint, trust) = (scene.node.endpoint(), scene.node.trust());
    let client = Client::with_token(&endpoint, &scene.api.token, &trust).unwrap();
    let client = Arc::new(client);
    // The buffers of all that there has been before are given back.
    peak(&scene.node);
    let idle = peak(&scene.node);
    let ids = [&now.id, &base.id].map(|id| id.parse().unwrap());
    let streams: Vec<_> = (0..64)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let [snapshot, base] = ids;
                let disk = DiskOf {
                    vm: VM,
                    snapshot,
                    disk: DISK,
                };
                let comparison = Comparison {
                    base: Some(base),
                    refine: Refine::Blocks,
                    ..Comparison::default()
                };
                let delta = client.delta(&disk, &comparison, 0, Compression::None);
                let mut delta = delta.await.unwrap();
                assert!(delta.next().await.unwrap().is_some());
                delta
            })
        })
        .collect();
    let mut open = Vec::new();
    for stream in streams {
        open.push(stream.await.unwrap());
    }
    let (memory, pool) = (peak(&scene.node) - idle, held(&scene).await);
    println!("{memory} bytes, {pool} of the pool");
    for delta in &mut open {
        while delta.next().await.unwrap().is_some() {}
    }
    assert!(memory <= 96 << 20, "{memory} bytes");
    assert!(pool <= 32 << 20, "{pool} bytes");
}
