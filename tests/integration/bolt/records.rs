//! The first generation's records in such a file.

use std::io::Cursor;

use coriolis_ovm_exporter::snapshots::former::records::{self, Records, RecordsError};

use crate::support::bolt::{self, Cell, Tree, tree, value};

const ID: &str = "0d1e7c3a-52c1-4f0e-9b5b-0123456789ab";

fn with(key: &str, record: &str) -> Tree {
    tree([
        (
            "__storm_metadata",
            Cell::Bucket(tree([("codec", value("json"))])),
        ),
        (key, value(record)),
    ])
}

fn read(snapshots: Tree) -> Result<Records, RecordsError> {
    let storm = tree([("version", value("\"2.1.2\""))]);
    let file = bolt::file(&tree([
        ("Snapshot", Cell::Bucket(snapshots)),
        ("__storm_db", Cell::Bucket(storm)),
    ]));
    records::read(Cursor::new(file))
}

fn record(more: &str) -> String {
    format!(
        r#"{{"ID":"{ID}","VMID":"0004fb01",{more}"Disks":[{{"parent_path":"/r/VirtualDisks/a.img","path":"/r/CoriolisSnapshots/{ID}/a.img","snapshot_id":"{ID}","chunks":[{{"start":0,"length":4096,"physical_start":8192}}],"name":"a.img","repo_mountpoint":"/r"}}]}}"#
    )
}

#[test]
fn a_record_is_read_and_its_chunks_passed_over() {
    let found = read(with(
        ID,
        &record(r#""CreatedAt":"2021-05-04T03:02:01.123456789Z","#),
    ))
    .unwrap();
    assert_eq!(found.faults, [""; 0]);
    let record = found.records.values().next().unwrap();
    assert_eq!(record.id.to_string(), ID);
    assert_eq!(record.vm_id, "0004fb01");
    let time = record.created_at.unwrap();
    assert_eq!(time.to_string(), "2021-05-04T03:02:01.123456789Z");
    let [disk] = record.disks.as_slice() else {
        panic!("{record:?}");
    };
    assert_eq!(disk.name, "a.img");
    assert_eq!(disk.parent_path.to_str(), Some("/r/VirtualDisks/a.img"));
    assert_eq!(disk.mount_point.to_str(), Some("/r"));
}

#[test]
fn a_time_that_says_nothing_is_none() {
    for time in [
        "",
        r#""CreatedAt":"0001-01-01T00:00:00Z","#,
        r#""CreatedAt":"yesterday","#,
        r#""CreatedAt":null,"#,
    ] {
        let found = read(with(ID, &record(time))).unwrap();
        assert_eq!(found.records.values().next().unwrap().created_at, None);
    }
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let good = record("");
    let other = "ffffffff-52c1-4f0e-9b5b-0123456789ab";
    let many = format!("[{}null]", "{},".repeat(2000));
    for bad in [
        "",
        "null",
        "{",
        "gob \u{1}",
        &good,
        &good.replace(ID, "no id"),
        &good.replace(&format!("\"snapshot_id\":\"{ID}\""), "\"snapshot_id\":\"\""),
        &good.replace(ID, other).replace("0004fb01", ""),
        &good
            .replace(ID, other)
            .replace("/r/VirtualDisks", &"/r".repeat(5000)),
        &format!(r#"{{"ID":"{other}","VMID":"v","Disks":{many}}}"#),
        &format!(
            r#"{{"ID":"{other}","VMID":"v","Disks":{}}}"#,
            "[".repeat(5000)
        ),
    ] {
        let mut snapshots = with(ID, &good);
        snapshots.insert(other.into(), value(bad));
        let found = read(snapshots).unwrap();
        assert_eq!(found.records.len(), 1, "{bad:.80}");
        assert_eq!(found.faults.len(), 1, "{bad:.80}: {:?}", found.faults);
    }
}

#[test]
fn another_programs_database_is_refused() {
    for other in [
        tree([("v1", Cell::Bucket(tree([("a", value("b"))])))]),
        tree([("Snapshot", value("no bucket"))]),
        tree([("Snapshot", Cell::Bucket(tree([(ID, value(record("")))])))]),
        tree([(
            "Snapshot",
            Cell::Bucket(tree([(
                "__storm_metadata",
                Cell::Bucket(tree([("codec", value("gob"))])),
            )])),
        )]),
    ] {
        let refused = records::read(Cursor::new(bolt::file(&other)));
        assert!(
            matches!(refused, Err(RecordsError::Foreign(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_database_without_snapshots_is_one() {
    let storm = tree([("version", value("\"2.1.2\""))]);
    let file = bolt::file(&tree([("__storm_db", Cell::Bucket(storm))]));
    let found = records::read(Cursor::new(file)).unwrap();
    assert!(found.records.is_empty() && found.faults.is_empty());
}

/// Files that bbolt itself has written, with the same layout and pages of 1 KiB.
#[test]
fn what_bbolt_writes_is_read() {
    let seeds: [(&[u8], &[u32]); 3] = [
        (include_bytes!("../../../fuzz/seeds/bolt/few"), &[0, 1, 2]),
        (
            include_bytes!("../../../fuzz/seeds/bolt/branches-after-deletions"),
            &[0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13],
        ),
        (include_bytes!("../../../fuzz/seeds/bolt/overflow"), &[0, 1]),
    ];
    for (bytes, hours) in seeds {
        let found = records::read(Cursor::new(bytes)).unwrap();
        assert_eq!(found.faults, [""; 0]);
        let mut times: Vec<String> = found
            .records
            .values()
            .map(|record| record.created_at.unwrap().to_string())
            .collect();
        times.sort();
        let wanted: Vec<String> = hours
            .iter()
            .map(|hour| format!("2021-05-04T{:02}:02:01.123456789Z", 3 + hour))
            .collect();
        assert_eq!(times, wanted);
        let record = found.records.values().next().unwrap();
        assert_eq!(record.disks.len(), 1);
        let disk = &record.disks[0];
        assert_eq!(
            disk.mount_point
                .join("CoriolisSnapshots")
                .join(record.id.to_string())
                .join(&disk.name),
            disk.path
        );
    }
}
