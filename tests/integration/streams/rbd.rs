//! Ceph's format, as Ceph's own tool takes it.

use std::fs;
use std::path::Path;

use super::super::comparison::guest::Guest;
use super::super::comparison::house::{shell, text};
use super::super::comparison::seed::Seed;
use super::super::support::node::Kind;
use super::scene::{Scene, assert_same, resized};

/// Applies an `rbd diff v1`: what its snapshots are called, and the bytes.
fn apply(stream: &[u8], replica: &[u8]) -> (Option<String>, String, Vec<u8>) {
    let mut rest = stream.strip_prefix(b"rbd diff v1\n").unwrap();
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at(count);
        rest = tail;
        head
    };
    let number =
        |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    let (mut from, mut to, mut replica) = (None, String::new(), replica.to_vec());
    loop {
        match take(1)[0] {
            tag @ (b'f' | b't') => {
                let length = u32::from_le_bytes(take(4).try_into().unwrap());
                let name = String::from_utf8(take(length.try_into().unwrap()).to_vec()).unwrap();
                if tag == b'f' {
                    from = Some(name);
                } else {
                    to = name;
                }
            }
            b's' => replica = resized(&replica, number(take(8)) as u64),
            b'w' => {
                let (offset, length) = (number(take(8)), number(take(8)));
                replica[offset..offset + length].copy_from_slice(take(length));
            }
            b'z' => {
                let (offset, length) = (number(take(8)), number(take(8)));
                replica[offset..offset + length].fill(0);
            }
            b'e' => break,
            other => panic!("a record of kind {other}"),
        }
    }
    assert!(rest.is_empty());
    (from, to, replica)
}

/// Debian's `rbd merge-diff`, which needs no cluster.
fn merge(folder: &Path, first: &[u8], second: &[u8]) -> Vec<u8> {
    let path = |name: &str| folder.join(name);
    fs::write(path("first"), first).unwrap();
    fs::write(path("second"), second).unwrap();
    let (first, second, merged) = (path("first"), path("second"), path("merged"));
    let _ = fs::remove_file(&merged);
    let (said, worked) = shell(
        "rbd",
        &[
            "merge-diff",
            "--no-progress",
            text(&first),
            text(&second),
            text(&merged),
        ],
    );
    assert!(worked, "rbd merge-diff: {said}");
    fs::read(merged).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rbd_merges_two_diffs_that_follow_each_other() {
    let seed = Seed::choose();
    println!("seed {}", seed.0);
    let folder = tempfile::tempdir().unwrap();
    for kind in [Kind::Xfs, Kind::Btrfs] {
        let scene = Scene::set(kind).await;
        let mut guest = Guest::new(kind, scene.disk.clone(), seed.random());
        let mut taken = vec![scene.take().await];
        for _ in 0..2 {
            guest.work(None);
            taken.push(scene.take().await);
        }
        let [one, two, three] = &taken[..] else {
            unreachable!()
        };
        let whole = scene.delta(one, "format=rbd").await;
        let (from, to, replica) = apply(&whole, &[9; 30 << 20]);
        assert_eq!((from, &to), (None, &one.id));
        assert_same(&replica, &one.bytes, "in full");
        let mut diffs = Vec::new();
        for (base, now) in [(one, two), (two, three)] {
            let query = format!("compareTo={}&format=rbd", base.id);
            let diff = scene.delta(now, &query).await;
            let (from, to, replica) = apply(&diff, &base.bytes);
            assert_eq!((from.as_ref(), &to), (Some(&base.id), &now.id));
            assert_same(&replica, &now.bytes, "since");
            diffs.push(diff);
        }
        let merged = merge(folder.path(), &diffs[0], &diffs[1]);
        let (from, to, replica) = apply(&merged, &one.bytes);
        assert_eq!((from.as_ref(), &to), (Some(&one.id), &three.id));
        assert_same(&replica, &three.bytes, "merged");
        let merged = merge(folder.path(), &whole, &merged);
        let (from, _, replica) = apply(&merged, &[9; 30 << 20]);
        assert_eq!(from, None);
        assert_same(&replica, &three.bytes, "merged with the first");
    }
}
