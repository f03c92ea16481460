//! What pages of ranges and deltas cost: `make bench`. `BENCH_EXTENTS` for another number of extents.
//!
//! One fragmented disk against a base that was empty: all pages against one answer for the whole
//! snapshot, and what memory they take. Then 5,000 blocks here and there, as one delta, against as
//! many requests and against as many bytes in one piece. Then whole disks of as many extents against
//! one of a single extent, cached and cold. Medians; ratios within one run.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::{Machine, scribble};
use coriolis_ovm_exporter::operations::demo::node::Node;
use coriolis_ovm_exporter::protocol::delta::{Decoder, Totals};
use coriolis_ovm_exporter::protocol::{RangePage, Snapshot};
use uuid::Uuid;

const BLOCK: u64 = 4096;
const SMALL: u64 = 5_000;
const PIECES: u64 = 1 << 30;

fn main() {
    let extents = std::env::var("BENCH_EXTENTS").map_or(100_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("load average before: {}", load());
    runtime.block_on(over_https(extents));
    println!("load average after:  {}", load());
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// A client that asks for anything.
struct Raw {
    http: reqwest::Client,
    token: String,
    base: String,
}

impl Raw {
    async fn get(&self, snapshot: &Snapshot, read: &str, query: &str) -> reqwest::Response {
        let url = format!(
            "{}/api/v1/vms/{}/snapshots/{}{read}?{query}",
            self.base, snapshot.vm_id, snapshot.id
        );
        let request = self.http.get(url).bearer_auth(&self.token);
        request.send().await.unwrap().error_for_status().unwrap()
    }

    async fn pages(&self, snapshot: &Snapshot, base: Uuid, limit: u64) -> usize {
        let (mut from, mut seen) = (0, 0);
        loop {
            let query = format!("compareTo={base}&from={from}&limit={limit}");
            let read = format!("/disks/{}/ranges", snapshot.disks[0].name);
            let page: RangePage = self
                .get(snapshot, &read, &query)
                .await
                .json()
                .await
                .unwrap();
            seen += page.ranges.len();
            match page.next {
                Some(next) => from = next,
                None => return seen,
            }
        }
    }

    async fn delta(&self, snapshot: &Snapshot, base: Uuid) -> Totals {
        let query = format!("compareTo={base}");
        self.stream(snapshot, &query).await.0
    }

    /// The totals, and the bytes that came for them.
    async fn stream(&self, snapshot: &Snapshot, query: &str) -> (Totals, u64) {
        let read = format!("/disks/{}/delta", snapshot.disks[0].name);
        let mut body = self.get(snapshot, &read, query).await;
        let mut decoder = Decoder::new();
        let mut received = 0;
        while let Some(piece) = body.chunk().await.unwrap() {
            received += piece.len() as u64;
            let mut input = &piece[..];
            while decoder.next(&mut input).unwrap().is_some() {}
        }
        (decoder.finish().unwrap(), received)
    }
}

async fn over_https(extents: u64) {
    let ground = Ground::xfs((extents * BLOCK * 2).max(4 << 30) + (2 << 30)).unwrap();
    let root = ground.repository();
    let machines = vec![
        Machine::create(&root, 1, "fragmented", &[extents * 2 * BLOCK]).unwrap(),
        Machine::create(&root, 2, "blocks", &[PIECES]).unwrap(),
        Machine::create(&root, 3, "near", &[PIECES]).unwrap(),
        Machine::create(&root, 4, "far", &[PIECES]).unwrap(),
        Machine::create(&root, 5, "together", &[PIECES]).unwrap(),
    ];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"));
    let node = Node::with_machines(ground, machines.clone(), program)
        .await
        .unwrap();
    let client = node.client().await.unwrap();
    let authority = fs::read(node.ground().path().join("node/ca-pub.pem")).unwrap();
    let raw = Raw {
        http: reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .build()
            .unwrap(),
        token: client.token().to_owned(),
        base: node.endpoint(),
    };
    fragmented(&node, &raw, &client, &machines[0], extents).await;
    blocks(&raw, &client, &machines[1]).await;
    full_copies(&node, &raw, &client, &machines[2..]).await;
}

async fn fragmented(node: &Node, raw: &Raw, client: &Client, machine: &Machine, extents: u64) {
    let base = client.create_snapshot(&machine.id).await.unwrap();
    let disk = writer(&machine.disks[0]);
    for at in 0..extents {
        disk.write_all_at(&[7; 4096], at * 2 * BLOCK).unwrap();
    }
    disk.sync_all().unwrap();
    // The answer is not read: with so many chunks it is large, and its memory is not ours.
    let now = client.create_snapshot(&machine.id).await.unwrap();
    println!("{} extents", now.disks[0].extents);
    let query = format!("compareTo={}", base.id);
    peak(node);
    let idle = peak(node);
    let begun = Instant::now();
    assert_eq!(raw.pages(&now, base.id, 100_000).await as u64, extents);
    println!(
        "all pages, first time: {:?}, {} MiB above idle",
        begun.elapsed(),
        (peak(node) - idle) >> 20
    );
    let (mut whole, mut pages) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let begun = Instant::now();
        raw.get(&now, "", &query).await.bytes().await.unwrap();
        whole.push(begun.elapsed());
        let begun = Instant::now();
        raw.pages(&now, base.id, 100_000).await;
        pages.push(begun.elapsed());
    }
    report(
        "all pages of 100,000 against one answer for the snapshot",
        median(&mut pages),
        median(&mut whole),
    );
    peak(node);
    let begun = Instant::now();
    let totals = raw.delta(&now, base.id).await;
    assert_eq!(totals.data, extents * BLOCK);
    println!(
        "a delta of {extents} blocks: {:?}, {} MiB above idle",
        begun.elapsed(),
        peak(node).saturating_sub(idle) >> 20
    );
}

async fn blocks(raw: &Raw, client: &Client, machine: &Machine) {
    let disk = writer(&machine.disks[0]);
    scribble(&disk, &mut Random::new(1), 0, PIECES).unwrap();
    disk.sync_all().unwrap();
    let first = client.create_snapshot(&machine.id).await.unwrap();
    let mut random = Random::new(2);
    let mut block = vec![0; 4096];
    for at in 0..SMALL {
        random.fill(&mut block);
        disk.write_all_at(&block, at * 2 * BLOCK).unwrap();
    }
    disk.sync_all().unwrap();
    let near = client.create_snapshot(&machine.id).await.unwrap();
    for at in 0..SMALL {
        random.fill(&mut block);
        disk.write_all_at(&block, at * (PIECES / SMALL / BLOCK) * BLOCK)
            .unwrap();
    }
    disk.sync_all().unwrap();
    let far = client.create_snapshot(&machine.id).await.unwrap();
    scribble(&disk, &mut Random::new(3), 0, SMALL * BLOCK).unwrap();
    disk.sync_all().unwrap();
    let together = client.create_snapshot(&machine.id).await.unwrap();
    let (mut times, mut requests) = ([vec![], vec![], vec![]], Vec::new());
    for round in 0..7 {
        let pairs = [(&near, &first), (&far, &near), (&together, &far)];
        for ((now, base), times) in pairs.into_iter().zip(&mut times) {
            let begun = Instant::now();
            let totals = raw.delta(now, base.id).await;
            times.push(begun.elapsed());
            assert_eq!(totals.data, SMALL * BLOCK);
        }
        if round < 2 {
            let begun = Instant::now();
            let name = &near.disks[0].name;
            for at in 0..SMALL {
                let read = client.read(&machine.id, near.id, name, at * 2 * BLOCK, BLOCK);
                read.await.unwrap().bytes().await.unwrap();
            }
            requests.push(begun.elapsed());
        }
    }
    let [near, far, together] = &mut times;
    let together = median(together);
    report(
        "5,000 blocks 8 KiB apart in one delta, against one piece",
        median(near),
        together,
    );
    report(
        "5,000 blocks 208 KiB apart in one delta, against one piece",
        median(far),
        together,
    );
    report(
        "5,000 requests, against one piece",
        median(&mut requests),
        together,
    );
}

/// Whole disks, each with as much data: in extents 8 KiB apart, 208 KiB apart, in one piece.
async fn full_copies(node: &Node, raw: &Raw, client: &Client, machines: &[Machine]) {
    let mut snapshots = Vec::new();
    for (machine, step) in machines.iter().zip([2, PIECES / SMALL / BLOCK, 1]) {
        let disk = writer(&machine.disks[0]);
        let (mut random, mut block) = (Random::new(step), vec![0; 4096]);
        for at in 0..SMALL {
            random.fill(&mut block);
            disk.write_all_at(&block, at * step * BLOCK).unwrap();
        }
        disk.sync_all().unwrap();
        let snapshot = client.create_snapshot(&machine.id).await.unwrap();
        println!(
            "{}: {} extents",
            machine.friendly_name, snapshot.disks[0].extents
        );
        snapshots.push(snapshot);
    }
    for cold in [false, true] {
        let mut times = [vec![], vec![], vec![]];
        let mut told = [(0, 0); 3];
        for _ in 0..7 {
            for ((snapshot, times), told) in snapshots.iter().zip(&mut times).zip(&mut told) {
                if cold {
                    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
                }
                let before = read_bytes(node);
                let begun = Instant::now();
                let (totals, received) = raw.stream(snapshot, "").await;
                times.push(begun.elapsed());
                assert_eq!(totals.data, SMALL * BLOCK);
                *told = (read_bytes(node) - before, received);
            }
        }
        let [near, far, together] = &mut times;
        let together = median(together);
        let state = if cold { "cold" } else { "cached" };
        for (apart, times) in [("8 KiB", near), ("208 KiB", far)] {
            report(
                &format!(
                    "a full copy of {SMALL} extents {apart} apart, against one piece, {state}"
                ),
                median(times),
                together,
            );
        }
        println!("bytes read by the daemon and received: {told:?}");
    }
}

/// What the daemon has read so far, from caches too, bytes.
fn read_bytes(node: &Node) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", node.daemon_id())).unwrap();
    let line = io.lines().find(|line| line.starts_with("rchar:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn writer(path: &Path) -> File {
    File::options().write(true).open(path).unwrap()
}

/// The daemon's largest resident memory since the last call, bytes.
fn peak(node: &Node) -> u64 {
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

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn report(what: &str, one: Duration, other: Duration) {
    println!(
        "{what}: {:.2} ms against {:.2} ms, ratio {:.2}",
        one.as_secs_f64() * 1e3,
        other.as_secs_f64() * 1e3,
        one.as_secs_f64() / other.as_secs_f64()
    );
}
