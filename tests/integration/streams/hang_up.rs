//! A client that goes away, or takes nothing: the work for it ends, or waits.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::comparison::house::must;
use super::super::support::node::{Kind, TestNode};
use super::super::support::wait;
use super::scene::{Scene, Taken, VM};

/// Descriptors of the daemon that have this file open.
fn open(node: &TestNode, file: &Path) -> Vec<String> {
    let folder = format!("/proc/{}/fd", node.daemon_id());
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|item| fs::read_link(item.path()).is_ok_and(|target| target == file))
        .map(|item| item.path().display().to_string())
        .collect()
}

/// Bytes that the daemon has read, from whatever.
fn has_read(node: &TestNode) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", node.daemon_id())).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("rchar:"))
        .unwrap();
    line["rchar:".len()..].trim().parse().unwrap()
}

fn request(scene: &Scene, taken: &Taken, read: &str, query: &str) -> reqwest::RequestBuilder {
    let url = format!(
        "{}/api/v1{}",
        scene.node.endpoint(),
        Scene::path(taken, read, query)
    );
    scene.node.http().get(url).bearer_auth(&scene.api.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_of_a_terabyte_ends_with_its_client() {
    let scene = Scene::set(Kind::Xfs).await;
    File::create_new(&scene.disk)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let taken = scene.take_unread().await;
    let waiting = tokio::spawn(request(&scene, &taken, "digests", "").send());
    wait::until_nothing("the digest is being made", || {
        if open(&scene.node, &taken.file).is_empty() {
            vec!["nothing is open"]
        } else {
            Vec::new()
        }
    })
    .await;
    assert!(!waiting.is_finished(), "a terabyte in no time");
    waiting.abort();
    wait::until_nothing("it is given up", || open(&scene.node, &taken.file)).await;
}

/// Fills a disk of `size` bytes with the same `PIECE` bytes over and over, all in one place: so much is
/// not written.
fn fill(disk: &Path, byte: u8, size: u64) {
    const PIECE: u64 = 64 << 20;
    // Space of its own.
    let file = File::create(disk).unwrap();
    for at in 0..PIECE >> 20 {
        file.write_all_at(&[byte; 1 << 20], at << 20).unwrap();
    }
    file.sync_all().unwrap();
    let mut filled = PIECE;
    while filled < size {
        let order = format!("reflink {} 0 {filled} {filled}", disk.display());
        must("xfs_io", &["-c", &order, disk.to_str().unwrap()]);
        filled *= 2;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_of_all_bytes_ends_with_its_client() {
    let scene = Scene::set(Kind::Xfs).await;
    fill(&scene.disk, 1, 512 << 30);
    let base = scene.take_unread().await;
    // The maps name all of it, and no byte differs.
    fill(&scene.disk, 1, 512 << 30);
    let now = scene.take_unread().await;
    let url = format!(
        "{}/api/v1/vms/{VM}/snapshots/{}?compareTo={}&refine=4096",
        scene.node.endpoint(),
        now.id,
        base.id
    );
    let http = scene.node.http();
    let waiting = tokio::spawn(http.get(url).bearer_auth(&scene.api.token).send());
    let before = has_read(&scene.node);
    wait::until_nothing("bytes are being compared", || {
        let read = has_read(&scene.node) - before;
        if read < 256 << 20 {
            vec![read]
        } else {
            Vec::new()
        }
    })
    .await;
    assert!(!waiting.is_finished(), "a terabyte in no time");
    waiting.abort();
    wait::until_nothing("it is given up", || {
        let mut open = open(&scene.node, &now.file);
        open.extend(self::open(&scene.node, &base.file));
        open
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_waits_for_its_client_and_ends_with_it() {
    const SIZE: u64 = 256 << 20;
    let scene = Scene::set(Kind::Xfs).await;
    let disk = File::create_new(&scene.disk).unwrap();
    for at in 0..SIZE >> 20 {
        disk.write_all_at(&[9; 1 << 20], at << 20).unwrap();
    }
    disk.sync_all().unwrap();
    let taken = scene.take_unread().await;
    let before = has_read(&scene.node);
    let mut response = request(&scene, &taken, "delta", "").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap().unwrap();
    // Until it reads no more: what is on the way is in the sockets' buffers.
    let mut last = 0;
    wait::until_nothing("it stops reading", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = has_read(&scene.node) - before;
        let moved = now - std::mem::replace(&mut last, now);
        if moved == 0 { Vec::new() } else { vec![moved] }
    })
    .await;
    assert!(last < SIZE / 4, "{last} bytes were read for nobody");
    assert!(!open(&scene.node, &taken.file).is_empty());
    drop(response);
    wait::until_nothing("it is given up", || open(&scene.node, &taken.file)).await;
}
