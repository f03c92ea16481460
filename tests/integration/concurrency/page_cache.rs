//! The node's memory is small: what was streamed does not stay in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::protocol::Snapshot;

use crate::support::counts::count;
use crate::support::node::{Kind, TestNode};

const DISK: usize = 256 << 20;

/// How many pages of a file are cached.
fn cached_pages(path: &Path) -> u64 {
    let output = Command::new("fincore")
        .args(["--noheadings", "--raw", "--output", "PAGES"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// Half random, half what compresses well, so that compression has something to do.
fn fill(path: &Path) {
    let mut random = Random::new(11);
    let mut bytes = vec![0x61; DISK];
    for block in bytes.chunks_mut(128 << 10) {
        let (first, _) = block.split_at_mut(64 << 10);
        random.fill(first);
    }
    std::fs::write(path, bytes).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
}

async fn stream(client: &Client, snapshot: &Snapshot, offset: u64, length: u64) {
    let disk = &snapshot.disks[0];
    let mut body = client
        .read(&snapshot.vm_id, snapshot.id, &disk.name, offset, length)
        .await
        .unwrap();
    let mut seen = 0;
    while let Some(bytes) = body.chunk().await.unwrap() {
        seen += bytes.len() as u64;
    }
    assert_eq!(seen, length);
}

async fn nothing_stays(kind: Kind) {
    let node = TestNode::new(&[kind]).await;
    let machine = node.machine(0, 1, &[DISK as u64]);
    fill(&machine.disks[0]);
    let client = node.client().await;
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    let path = &snapshot.disks[0].path;
    let size = DISK as u64;

    stream(&client, &snapshot, 0, size).await;
    gone(path, kind, "a stream, cold").await;

    let file = File::open(path).unwrap();
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    // Somebody has read it before, such as a backup of the node; all of it, or parts.
    for parts in [&[][..], &[0, 64 << 20, 128 << 20]] {
        if kind != Kind::Xfs && !parts.is_empty() {
            continue;
        }
        // A kernel short of memory takes pages by itself, now and then. What we drop, we drop each time.
        let (mut warm, mut left) = (0, 0);
        for _ in 0..3 {
            closed(&node, path).await;
            drop(std::fs::read(path).unwrap());
            for part in parts {
                nix::fcntl::posix_fadvise(&file, *part, 7 << 20, advice).unwrap();
            }
            warm = cached_pages(path);
            assert!(warm > 0, "{kind:?}: the file was never cached");
            stream(&client, &snapshot, 0, size).await;
            if !parts.is_empty() {
                stream(&client, &snapshot, (64 << 20) + 5, 12_345).await;
            }
            left = cached_pages(path);
            if left == warm {
                break;
            }
        }
        assert_eq!(left, warm, "{kind:?}: what others have cached is theirs");
    }
    nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
    assert_eq!(cached_pages(path), 0);

    // Ranges of any alignment, small ones, and several in one request.
    let mut random = Random::new(3);
    for _ in 0..count(48, 1000) {
        // Each by itself: the end of the next one would clear what this one has left.
        let offset = random.below(size - (3 << 20));
        stream(&client, &snapshot, offset, 1 + random.below(3 << 20)).await;
        gone(path, kind, "a range").await;
        stream(&client, &snapshot, random.below(size - 4096), 4096).await;
        gone(path, kind, "a small read").await;
    }
    let url = format!(
        "{}/api/v1/vms/{}/snapshots/{}/disks/{}",
        node.endpoint(),
        machine.id,
        snapshot.id,
        snapshot.disks[0].name
    );
    let parts: Vec<String> = (0..16_u64)
        .map(|at| format!("{}-{}", at * 10_000_000, at * 10_000_000 + 777_777))
        .collect();
    let several = node
        .http()
        .get(url)
        .bearer_auth(client.token())
        .header("range", format!("bytes={}", parts.join(",")))
        .send()
        .await
        .unwrap();
    assert_eq!(several.status(), 206);
    assert!(several.bytes().await.unwrap().len() > 16 * 777_777);
    gone(path, kind, "several ranges").await;

    // A download that is given up half way.
    let mut body = node
        .client()
        .await
        .read(&machine.id, snapshot.id, &snapshot.disks[0].name, 0, size)
        .await
        .unwrap();
    body.chunk().await.unwrap();
    drop(body);
    gone(path, kind, "half a stream").await;

    // Comparing the bytes of two snapshots leaves none of either.
    let guest = File::options().write(true).open(&machine.disks[0]).unwrap();
    for (at, byte) in (0..8).zip(1..) {
        guest
            .write_all_at(&vec![byte; 8 << 20], at * (24 << 20))
            .unwrap();
    }
    let newer = client.create_snapshot(&machine.id).await.unwrap();
    let url = format!(
        "{}/api/v1/vms/{}/snapshots/{}?compareTo={}&refine=4096",
        node.endpoint(),
        machine.id,
        newer.id,
        snapshot.id
    );
    let compared = node
        .http()
        .get(url)
        .bearer_auth(client.token())
        .send()
        .await
        .unwrap();
    assert_eq!(compared.status(), 200);
    gone(path, kind, "a comparison").await;
    gone(&newer.disks[0].path, kind, "a comparison").await;
}

/// Waits until the daemon has closed a file: then it drops what it may have left, and with that what
/// others have cached meanwhile.
async fn closed(node: &TestNode, path: &Path) {
    let folder = format!("/proc/{}/fd", node.daemon_id());
    crate::support::wait::until_nothing("the daemon closes the file", || {
        let open = std::fs::read_dir(&folder).unwrap();
        let targets = open.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok());
        targets
            .filter(|target| target == path)
            .map(|target| target.display().to_string())
            .collect()
    })
    .await;
}

/// Waits until none of a file's pages is cached. The daemon drops what small reads have left when
/// it closes the file, which is after the client has its last byte.
async fn gone(path: &Path, kind: Kind, after: &str) {
    let what = format!("{kind:?}: after {after} no page stays");
    crate::support::wait::until_nothing(&what, || match cached_pages(path) {
        0 => Vec::new(),
        pages => vec![format!("{pages} pages")],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_streamed_stays_in_memory_on_xfs() {
    nothing_stays(Kind::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_streamed_stays_in_memory_on_btrfs() {
    nothing_stays(Kind::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_streamed_stays_in_memory_on_compressed_btrfs() {
    nothing_stays(Kind::BtrfsCompressed).await;
}
