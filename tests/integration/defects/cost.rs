//! What requests cost on a fragmented disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{chunks, disk_path, write};
use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};
use crate::support::wire::Dialler;

/// Writes every second block of a disk: that many extents.
fn fragment(disk: &Path, extents: u32) {
    let disk = File::options().write(true).open(disk).unwrap();
    for at in 0..u64::from(extents) {
        disk.write_all_at(&[1; 4096], at * 8192).unwrap();
    }
    disk.sync_all().unwrap();
}

/// The shortest of some runs: noise only ever adds.
async fn shortest<F: Future<Output = ()>>(runs: u32, work: impl Fn() -> F) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let begun = Instant::now();
        work().await;
        best = best.min(begun.elapsed());
    }
    best
}

/// First generation, 50,000 extents: 2 s a comparison, 47 ms for any 4 KiB of any disk, 2.2 s for
/// the list of machines. The comparison's time against FIEMAP's alone is measured by the bench.
#[tokio::test(flavor = "multi_thread")]
async fn comparison_is_quadratic_and_maps_are_decoded_on_each_request() {
    let extents = count(20_000, 50_000);
    let node = TestNode::new(&[Kind::Xfs]).await;
    let api = Api::of(&node).await;
    let size = u64::from(extents) * 8192;
    let plain = node.machine(0, 1, &[size]);
    write(&plain.disks[0], 1, 0, 1 << 20);
    let first = api.snapshot(&plain.id).await;
    let list = || async { drop(api.json("/vms").await) };
    let read = |path: String| {
        let api = &api;
        async move {
            let headers = [("range", "bytes=8192-12287")];
            let answer = api.send(reqwest::Method::GET, &path, &headers).await;
            assert_eq!((answer.status, answer.body.len()), (206, 4096));
        }
    };
    let listing_before = shortest(20, list).await;
    let plain_read = shortest(50, || read(disk_path(&first, 0))).await;

    let [quarter, whole] = [(2, extents / 4), (3, extents)].map(|(number, extents)| {
        let vm = node.machine(0, number, &[size]);
        fragment(&vm.disks[0], extents);
        vm
    });
    let mut comparing = Vec::new();
    for vm in [&quarter, &whole] {
        let base = api.snapshot(&vm.id).await;
        // Every tenth block anew: thousands of changes, too.
        let disk = File::options().write(true).open(&vm.disks[0]).unwrap();
        for at in (0..size / 8192 / if vm.id == whole.id { 1 } else { 4 }).step_by(10) {
            disk.write_all_at(&[2; 4096], at * 8192).unwrap();
        }
        let next = api.snapshot(&vm.id).await;
        let compared = api.compare(&vm.id, &next, &base).await;
        assert!(chunks(&compared, 0).len() >= usize::try_from(extents / 40).unwrap());
        comparing.push(
            shortest(3, || async {
                drop(api.compare(&vm.id, &next, &base).await)
            })
            .await,
        );
        if vm.id == whole.id {
            let fragmented_read = shortest(50, || read(disk_path(&next, 0))).await;
            println!("4 KiB: {plain_read:?} on one extent, {fragmented_read:?} on {extents}");
            assert!(fragmented_read < plain_read * 2 + Duration::from_millis(3));
        }
    }
    let listing_after = shortest(20, list).await;
    println!("GET /vms: {listing_before:?}, then {listing_after:?}; comparing {comparing:?}");
    // There are more machines and snapshots to list, but no map to read.
    assert!(listing_after < listing_before * 3 + Duration::from_millis(5));
    // Four times as many extents: 4 where it is linear, 16 where it is quadratic.
    assert!(comparing[1] < comparing[0] * 8 + Duration::from_millis(20));
}

/// First generation: 5,000 chunks of 20 MB in 49 s, a TLS handshake each. The connection stays
/// open from one range to the next.
#[tokio::test(flavor = "multi_thread")]
async fn each_chunk_needs_a_handshake() {
    let chunks = count(1000, 5000);
    let node = TestNode::new(&[Kind::Xfs]).await;
    let api = Api::of(&node).await;
    let vm = node.machine(0, 1, &[32 << 20]);
    write(&vm.disks[0], 5, 0, 32 << 20);
    let snapshot = api.snapshot(&vm.id).await;
    let path = format!("/api/v1{}", disk_path(&snapshot, 0));
    let bytes = std::fs::read(text(&snapshot["disks"][0]["path"])).unwrap();
    let mut wire = Dialler::of(&node).open().await.unwrap();
    let begun = Instant::now();
    for at in 0..chunks {
        let first = usize::try_from(at).unwrap() * 4096 % bytes.len();
        let headers = format!(
            "Authorization: Bearer {}\r\nRange: bytes={first}-{}\r\n",
            api.token,
            first + 4095
        );
        let answer = wire.ask("GET", &path, &headers).await.unwrap();
        assert_eq!(answer.status, 206, "chunk {at}");
        assert!(answer.body == bytes[first..first + 4096]);
    }
    println!("{chunks} chunks on one connection in {:?}", begun.elapsed());
}
