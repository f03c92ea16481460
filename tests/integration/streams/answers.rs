//! What is refused, what is answered instead, and with which words.

use std::fs;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use reqwest::Method;
use uuid::Uuid;

use super::super::comparison::house::{must, text};
use super::super::support::disk;
use super::super::support::node::Kind;
use super::scene::{Scene, Taken, VM, assert_same, decode};

const READS: [&str; 3] = ["ranges", "delta", "digests"];

/// Two snapshots of a small disk.
async fn two() -> (Scene, Taken, Taken) {
    let scene = Scene::set(Kind::Xfs).await;
    let mut bytes = vec![0; 1 << 20];
    Random::new(1).fill(&mut bytes[..600_000]);
    fs::write(&scene.disk, bytes).unwrap();
    let first = scene.take().await;
    disk::write(&scene.disk, 65_536, &[7; 4096]);
    let second = scene.take().await;
    (scene, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_make_no_sense_are_bad_requests() {
    let (scene, first, second) = two().await;
    for (read, query, named) in [
        ("ranges", "limit=0", "limit=0"),
        ("ranges", "limit=200001", "200000"),
        ("ranges", "limit=-1", "-1"),
        ("ranges", "limit=x", "limit"),
        ("ranges", "limit=", "limit"),
        ("ranges", "from=1048577", "1048576"),
        ("ranges", "from=+1", "from"),
        ("ranges", "from=18446744073709551616", "from"),
        ("ranges", "refine=512", "refine"),
        ("ranges", "compareTo=", "compareTo"),
        ("ranges", "onBaseLost=maybe", "onBaseLost"),
        ("ranges", "to=1048577", "1048576"),
        ("ranges", "from=8192&to=8191", "from=8192"),
        ("ranges", "to=", "to"),
        ("delta", "from=1048577", "1048576"),
        ("delta", "to=1048577", "1048576"),
        ("delta", "from=8192&to=8191", "from=8192"),
        ("delta", "format=rbd&to=1048576", "rbd"),
        ("delta", "compression=gzip", "compression"),
        ("delta", "format=qcow2", "format"),
        ("delta", "format=rbd&from=0", "rbd"),
        ("delta", "format=rbd&compression=none", "rbd"),
        ("digests", "algorithm=md5", "md5"),
        ("digests", "block=4096", "65536"),
        ("digests", "block=65537", "4096"),
        ("digests", "block=0", "block"),
    ] {
        let answer = scene.get(&second, read, query).await;
        let (error, details) = answer.error(400);
        assert_eq!(error, "Bad Request");
        assert!(details.contains(named), "{read}?{query}: {details}");
    }
    for read in READS {
        // Not older.
        for base in [&second, &second] {
            let query = format!("compareTo={}", base.id);
            scene.get(&first, read, &query).await.error(400);
        }
        let query = format!("compareTo={}&onBaseLost=full", first.id);
        scene.get(&first, read, &query).await.error(400);
        let gone = Taken {
            id: Uuid::new_v4().to_string(),
            file: second.file.clone(),
            bytes: Vec::new(),
        };
        scene.get(&gone, read, "").await.error(404);
        let path = format!("/vms/{VM}/snapshots/{}/disks/other.img/{read}", second.id);
        let (_, details) = scene.api.get(&path).await.error(404);
        assert!(details.contains("other.img"), "{details}");
        let path = Scene::path(&second, read, "");
        let nobody = [("authorization", "")];
        let bare = scene.api.send(Method::GET, &path, &nobody).await;
        bare.error(401);
        let path = path.replace('?', "/?");
        assert_eq!(scene.api.get(&path).await.status, 200, "with a slash");
    }
    // The end of the disk is a place to ask from, and nothing follows it.
    let (ranges, page) = {
        let answer = scene.get(&second, "ranges", "from=1048576").await;
        let page = answer.json();
        (page["ranges"].as_array().unwrap().len(), page)
    };
    assert_eq!((ranges, &page["next"]), (0, &serde_json::Value::Null));
    let end = decode(&scene.delta(&second, "from=1048576").await, 99).unwrap();
    assert_eq!(end.items, []);
}

/// Each read without its base: an error, or with `onBaseLost=full` all of the disk.
async fn without_base(scene: &Scene, now: &Taken, base: &str, status: u16) {
    for read in READS {
        for more in ["", "&onBaseLost=error", "&onBaseLost="] {
            let query = format!("compareTo={base}{more}");
            let (_, details) = scene.get(now, read, &query).await.error(status);
            assert!(details.contains(base), "{details}");
        }
    }
    let query = format!("compareTo={base}&onBaseLost=full");
    let (ranges, page) = scene.ranges(now, &query, 1000).await;
    let reason = page.reason.unwrap();
    assert!(reason.contains(base), "{reason}");
    assert_eq!(page.base, None);
    let covered: u64 = ranges.iter().map(|range| range.length).sum();
    assert_eq!(covered, page.size, "it tiles the disk");
    let delta = decode(&scene.delta(now, &query).await, 999).unwrap();
    assert_eq!(
        (delta.header.base, delta.header.reason.clone()),
        (None, Some(reason))
    );
    let dirty = vec![0x55; 3 << 20];
    assert_same(&delta.apply(&dirty), &now.bytes, "over a dirty replica");
    let stream = scene.delta(now, &format!("{query}&format=rbd")).await;
    assert!(
        stream.starts_with(b"rbd diff v1\nt"),
        "no snapshot to begin from"
    );
    assert_eq!(scene.get(now, "digests", &query).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_gone() {
    let (scene, first, second) = two().await;
    let path = format!("/vms/{VM}/snapshots/{}", first.id);
    assert_eq!(scene.api.delete(&path).await.status, 200);
    without_base(&scene, &second, &first.id, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_not_what_was_sealed() {
    let (scene, first, second) = two().await;
    must("chattr", &["-i", text(&first.file)]);
    disk::write(&first.file, 9, b"x");
    without_base(&scene, &second, &first.id, 409).await;
    // What is asked about must be what was sealed, whatever the base.
    let query = "onBaseLost=full";
    for read in READS {
        scene.get(&first, read, query).await.error(409);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_without_such_a_disk() {
    let (scene, first, _) = two().await;
    let other = scene.disk.with_file_name("other.img");
    fs::rename(&scene.disk, &other).unwrap();
    let config = |disks: &str| format!("name = '{VM}'\ndisk = [{disks}]\n");
    scene.node.vm_cfg(
        0,
        VM,
        &config(&format!("'file:{},xvda,w'", other.display())),
    );
    let snapshot = scene.api.snapshot(VM).await;
    let id = super::super::support::api::text(&snapshot["id"]);
    let path = format!("/vms/{VM}/snapshots/{id}/disks/other.img");
    let page = scene
        .api
        .json(&format!("{path}/ranges?compareTo={}", first.id))
        .await;
    assert_eq!(page["base"], serde_json::Value::Null);
    let reason = page["reason"].as_str().unwrap();
    assert!(
        reason.contains("has no disk") && reason.contains(&first.id),
        "{reason}"
    );
    let stream = scene
        .api
        .get(&format!("{path}/delta?compareTo={}", first.id))
        .await;
    let delta = decode(&stream.body, 99).unwrap();
    assert_same(
        &delta.apply(&[9; 2 << 20]),
        &fs::read(&other).unwrap(),
        "all of it",
    );
}
