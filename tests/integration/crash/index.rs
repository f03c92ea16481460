//! Whatever becomes of the index: it is filled again from the repositories.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::guest::Random;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::api::{Api, text};
use crate::support::node::{Kind, TestNode};
use crate::support::peace;
use crate::support::truth::{Truth, images};

/// Does something to the index; its daemon has ended, or was killed.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 17] = [
    ("gone", remove),
    ("empty", |index| cut(index, |_| 0)),
    ("the first bytes", |index| cut(index, |_| 9)),
    ("the header", |index| cut(index, |_| 100)),
    ("the first page", |index| cut(index, |_| 4096)),
    ("half", |index| cut(index, |size| size / 2)),
    ("all but the last byte", |index| cut(index, |size| size - 1)),
    ("zeros", |index| overwrite(index, 0, 0)),
    ("garbage", |index| overwrite(index, 0, 0xA5)),
    ("garbage behind the header", |index| {
        overwrite(index, 100, 0xA5)
    }),
    ("garbage behind the first page", |index| {
        overwrite(index, 4096, 0x5A)
    }),
    ("half of what is not written back yet", |index| {
        let wal = index.with_extension("db-wal");
        if wal.exists() {
            cut(&wal, |size| size / 2);
        }
    }),
    ("garbage instead of what is not written back yet", |index| {
        fs::write(index.with_extension("db-wal"), [0xA5; 9000]).unwrap();
    }),
    ("of the future", |index| {
        run(
            index,
            "DROP TABLE copy; CREATE VIEW copy AS SELECT 1; CREATE TABLE \"new \"\"one\" (a);
             CREATE INDEX copy_by_vm ON \"new \"\"one\" (a); PRAGMA user_version = 99;",
        );
    }),
    ("rows that say nothing", |index| {
        run(index, "UPDATE copy SET manifest = x'00'");
    }),
    ("rows of other files", |index| {
        run(
            index,
            "UPDATE copy SET stamp = '1:2:3.4', mount_point = '/'",
        );
    }),
    ("of yesterday", |index| {
        remove(index);
        fs::copy(index.with_extension(YESTERDAY), index).unwrap();
    }),
];

/// Of an index that knows snapshots that are gone, and does not know those that are there.
const YESTERDAY: &str = "yesterday";

fn remove(index: &Path) {
    for file in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{file}", index.display()));
    }
}

fn cut(file: &Path, size: fn(u64) -> u64) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_len(size(file.metadata().unwrap().len())).unwrap();
}

fn overwrite(file: &Path, from: u64, byte: u8) {
    let file = File::options().write(true).open(file).unwrap();
    let size = file.metadata().unwrap().len();
    // After a kill, all of it but the first page may not be written back yet.
    let bytes = vec![byte; usize::try_from(size.saturating_sub(from)).unwrap()];
    file.write_all_at(&bytes, from).unwrap();
}

fn run(index: &Path, statements: &str) {
    let index = Connection::open(index).unwrap();
    index.execute_batch(statements).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_lost_or_damaged_is_made_again() {
    let mut node = TestNode::new(&[Kind::Xfs, Kind::Btrfs]).await;
    let machines = [
        node.machine(0, 1, &[64 << 10, 64 << 10]),
        node.machine(1, 2, &[64 << 10]),
    ];
    let mut random = Random::new(3);
    let api = Api::of(&node).await;
    for machine in &machines {
        api.snapshot(&machine.id).await;
    }
    node.stop();
    let index = node.path("exporter.db");
    fs::copy(&index, index.with_extension(YESTERDAY)).unwrap();
    node.start();
    let api = Api::of(&node).await;
    for machine in &machines {
        let path = format!("/vms/{}/snapshots", machine.id);
        assert_eq!(api.delete(&path).await.status, 200);
    }
    let mut truths = Vec::new();
    // Some pages of them.
    for round in 0..16 {
        let machine = &machines[round % 2];
        for disk in &machine.disks {
            let mut bytes = vec![0; 64 << 10];
            random.fill(&mut bytes);
            fs::write(disk, bytes).unwrap();
        }
        let images = images(&machine.disks);
        truths.push(Truth::of(&api.snapshot(&machine.id).await, &images));
    }
    let before = without_age(api.json("/snapshots").await);
    drop(api);
    for (what, damage) in DAMAGES {
        for killed in [false, true] {
            if killed {
                node.kill();
            } else {
                node.stop();
            }
            assert!(killed || index.metadata().unwrap().len() > 4 * 4096);
            damage(&index);
            node.start();
            let api = Api::of(&node).await;
            let after = without_age(api.json("/snapshots").await);
            assert_eq!(after, before, "{what}");
            assert_eq!(peace::disorder(&node), [""; 0], "{what}");
        }
    }
    let api = Api::of(&node).await;
    for truth in &truths {
        truth.check_files(&api.json(&truth.path()).await);
        assert_eq!(api.delete(&truth.path()).await.status, 200);
    }
    assert!(node.snapshot_files().is_empty());
}

/// What is listed, without what time makes of it.
fn without_age(mut listed: Value) -> Value {
    for entry in listed.as_array_mut().unwrap() {
        assert_eq!(text(&entry["state"]), "ready");
        entry.as_object_mut().unwrap().remove("age_seconds");
    }
    listed
}
