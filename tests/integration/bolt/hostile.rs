//! Any bytes end in a result.

use std::io::Cursor;

use coriolis_ovm_exporter::snapshots::former::bolt::{
    Database, Fault, FormatError, Item, MAX_ENTRIES,
};
use coriolis_ovm_exporter::snapshots::former::records;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::all;
use crate::support::bolt::{self, Cell, Layout, Writer, branch, header, leaf, tree, value};
use crate::support::counts::count;

const PAGE: usize = 4096;

fn refusal(file: &[u8]) -> FormatError {
    Database::open(Cursor::new(file)).unwrap_err()
}

#[test]
fn what_is_no_database_is_refused() {
    assert!(matches!(refusal(b""), FormatError::NotBolt));
    assert!(matches!(refusal(&[0; 300]), FormatError::NotBolt));
    assert!(matches!(refusal(&[0xFF; 3 * PAGE]), FormatError::NotBolt));
    let whole = bolt::file(&tree([("a", value("b"))]));
    // Cut within the first meta.
    assert!(matches!(refusal(&whole[..79]), FormatError::NotBolt));
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        for page in [0, PAGE] {
            let at = page + 16 + at;
            file[at..at + bytes.len()].copy_from_slice(bytes);
            let sum = bolt::checksum(&file[page + 16..page + 72]).to_le_bytes();
            file[page + 72..page + 80].copy_from_slice(&sum);
        }
        file
    };
    assert!(matches!(
        refusal(&changed(4, &1_u32.to_le_bytes())),
        FormatError::Version(1)
    ));
    for size in [0_u32, 3, 256, 5000, 1 << 31] {
        assert!(matches!(
            refusal(&changed(8, &size.to_le_bytes())),
            FormatError::PageSize(found) if found == size
        ));
    }
    let mut file = whole.clone();
    file[16 + 20] ^= 1;
    file[PAGE + 16 + 20] ^= 1;
    assert!(matches!(refusal(&file), FormatError::Checksum));
}

fn faults(writer: &Writer) -> Vec<Fault> {
    let (_, damage) = all(&writer.bytes);
    damage.into_iter().map(|damage| damage.fault).collect()
}

#[test]
fn links_in_a_circle_end_and_hide_nothing_else() {
    let mut writer = Writer::new(Layout::default());
    let good = writer.node(2, 1, &leaf(&[(b"b".to_vec(), 0, b"value".to_vec())]));
    let own = writer.pages();
    let children = [
        (b"a".to_vec(), own),
        (b"b".to_vec(), good),
        (b"c".to_vec(), good),
    ];
    writer.node(1, 3, &branch(&children));
    writer.metas(own);
    let (found, damage) = all(&writer.bytes);
    assert_eq!(found[&b"/b"[..]], b"value");
    let faults: Vec<Fault> = damage.into_iter().map(|damage| damage.fault).collect();
    assert_eq!(faults, [Fault::Loop(own), Fault::Loop(good)]);
}

#[test]
fn a_chain_of_branches_ends() {
    let mut writer = Writer::new(Layout::default());
    let mut page = writer.node(2, 0, &[]);
    for _ in 0..100 {
        page = writer.node(1, 1, &branch(&[(b"a".to_vec(), page)]));
    }
    writer.metas(page);
    assert_eq!(faults(&writer), [Fault::TooDeep]);
}

#[test]
fn pages_that_are_not_there_are_not_read() {
    for (root, fault) in [
        (0, Fault::NoSuchPage(0)),
        (1, Fault::NoSuchPage(1)),
        (99, Fault::NoSuchPage(99)),
        (u64::MAX, Fault::NoSuchPage(u64::MAX)),
        (2, Fault::WrongKind(16)),
    ] {
        let mut writer = Writer::new(Layout::default());
        writer.metas(root);
        assert_eq!(faults(&writer), [fault]);
    }
    // Behind the pages in use lies what an aborted transaction has written.
    let mut writer = Writer::new(Layout::default());
    let page = writer.node(2, 0, &[]);
    let meta = bolt::meta(PAGE, page, page, 9);
    writer.put(16, &meta);
    assert_eq!(faults(&writer), [Fault::NoSuchPage(page)]);
    // Overflow past the end of the file; another page's number.
    let mut writer = Writer::new(Layout::default());
    let page = writer.node(2, 0, &[]);
    writer.metas(page);
    let at = usize::try_from(page).unwrap() * PAGE;
    writer.put(at, &header(page, 2, 0, 7));
    assert_eq!(faults(&writer), [Fault::NoSuchPage(page + 7)]);
    writer.put(at, &header(page + 1, 2, 0, 0));
    assert_eq!(
        faults(&writer),
        [Fault::WrongNumber {
            page,
            found: page + 1
        }]
    );
    writer.put(at, &header(page, 2, 65_535, 0));
    assert_eq!(faults(&writer), [Fault::BadEntry(65_535)]);
}

#[test]
fn entries_stay_within_their_node() {
    let entries = [(b"key".to_vec(), 0, b"value".to_vec())];
    let row = |numbers: [u32; 4]| -> Vec<u8> {
        let mut content = leaf(&entries);
        for (at, number) in numbers.iter().enumerate() {
            content[4 * at..4 * at + 4].copy_from_slice(&number.to_le_bytes());
        }
        content
    };
    for numbers in [
        [0, 0, 3, 5],         // in the table
        [0, 15, 3, 5],        // its last byte
        [0, 5000, 3, 5],      // behind the page
        [0, 16, 3, 5000],     // a value over the page's end
        [0, 16, 32_769, 0],   // a key longer than any
        [0, u32::MAX, 3, 5],  // sums that overflow 32 bits
        [0, 16, 3, u32::MAX], //
        [1, 16, 3, 15],       // a bucket too short to be one
    ] {
        let mut writer = Writer::new(Layout::default());
        let page = writer.node(2, 1, &row(numbers));
        writer.metas(page);
        assert_eq!(faults(&writer), [Fault::BadEntry(0)], "{numbers:?}");
    }
    let mut writer = Writer::new(Layout::default());
    let page = writer.node(2, 1, &row([0, 16, 3, 4096 - 35]));
    writer.metas(page);
    assert_eq!(faults(&writer), [], "up to the last byte");
}

/// A page of entries that all have the page's only large value would read as 250 times as much.
#[test]
fn entries_share_no_bytes() {
    let keys: Vec<Vec<u8>> = (0..40_u8).map(|at| vec![at]).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.clone(), 0, vec![])).collect();
    let mut content = leaf(&entries);
    let end = content.len();
    content.resize(4000, 7);
    for at in 0..entries.len() {
        let value = u32::try_from(4000 - end).unwrap();
        content[16 * at + 12..16 * at + 16].copy_from_slice(&value.to_le_bytes());
    }
    let mut writer = Writer::new(Layout::default());
    let page = writer.node(2, entries.len(), &content);
    writer.metas(page);
    let (found, damage) = all(&writer.bytes);
    assert_eq!(found.len(), 1);
    assert_eq!(damage[0].fault, Fault::BadEntry(1));
}

#[test]
fn keys_out_of_order_are_damage() {
    let entry = |key: &str| (key.as_bytes().to_vec(), 0, Vec::new());
    for (keys, fault) in [
        (["a", "a"], Fault::Disorder(1)),
        (["b", "a"], Fault::Disorder(1)),
    ] {
        let mut writer = Writer::new(Layout::default());
        let page = writer.node(2, 2, &leaf(&keys.map(entry)));
        writer.metas(page);
        assert_eq!(faults(&writer), [fault]);
    }
}

#[test]
fn an_inline_bucket_is_one_leaf_of_values() {
    let nested = |inline: &[u8]| {
        let mut writer = Writer::new(Layout::default());
        let value = [&[0; 16], inline].concat();
        let page = writer.node(2, 1, &leaf(&[(b"bucket".to_vec(), 1, value)]));
        writer.metas(page);
        faults(&writer)
    };
    assert_eq!(nested(&[]), [Fault::BadEntry(0)]);
    assert_eq!(nested(&header(0, 2, 0, 0)), []);
    assert_eq!(nested(&header(0, 2, 1, 0)), [Fault::BadEntry(1)]);
    assert_eq!(nested(&header(0, 1, 0, 0)), [Fault::WrongKind(1)]);
    let bucket = leaf(&[(b"x".to_vec(), 1, vec![0; 32])]);
    let within = [header(0, 2, 1, 0), bucket].concat();
    assert_eq!(nested(&within), [Fault::BadEntry(0)]);
    let long = leaf(&[(b"x".to_vec(), 0, vec![0; 32])]);
    let within = [header(0, 2, 1, 0), long[..40].to_vec()].concat();
    assert_eq!(nested(&within), [Fault::BadEntry(0)]);
}

#[test]
fn more_entries_than_any_file_has_end() {
    // Nodes of 65,535 children each, all of which lead to one page.
    let mut writer = Writer::new(Layout {
        page_size: 1 << 16,
        ..Layout::default()
    });
    let children = vec![(Vec::new(), 3); 65_535];
    let wide = branch(&children);
    let nodes: Vec<(Vec<u8>, u64)> = (0..20)
        .map(|_| (Vec::new(), writer.node(1, 65_535, &wide)))
        .collect();
    let root = writer.node(1, nodes.len(), &branch(&nodes));
    writer.metas(root);
    let found = faults(&writer);
    assert!(found.contains(&Fault::TooMany), "{found:?}");
    const { assert!(20 * 65_535 > MAX_ENTRIES) };
}

/// Random changes to a good file: never a panic, never without end, never more than there is.
#[test]
fn damaged_files_end() {
    let seed = std::env::var("TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse::<u64>().unwrap());
    println!("run it again with TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let record = r#"{"ID":"ID","VMID":"v","CreatedAt":"2021-05-04T03:02:01Z","Disks":null}"#;
    let snapshots = tree((0..60).map(|at| {
        let id = format!("{at:08x}-0000-4000-8000-000000000000");
        let record = record.replace("\"ID\",", &format!("{id:?},"));
        (id, value(record))
    }));
    let mut snapshots = snapshots;
    snapshots.insert(
        b"__storm_metadata".to_vec(),
        Cell::Bucket(tree([("codec", value("json"))])),
    );
    let good = bolt::file_in(
        Layout {
            page_size: 1024,
            per_node: 5,
            inline: true,
        },
        &tree([("Snapshot", Cell::Bucket(snapshots))]),
    );
    assert_eq!(records::read(Cursor::new(&good)).unwrap().records.len(), 60);
    for _ in 0..count(500, 10_000) {
        let mut file = good.clone();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(0..file.len());
            file[at] = random.random();
        }
        if random.random_bool(0.1) {
            file.truncate(random.random_range(0..file.len()));
        }
        let Ok(mut database) = Database::open(Cursor::new(&file)) else {
            continue;
        };
        let mut bytes = 0;
        database.visit(database.root(), &mut |key, item| {
            bytes += key.len() as u64;
            if let Item::Value(value) = item {
                bytes += value.limit();
            }
        });
        assert!(bytes <= file.len() as u64, "more than there is");
        if let Ok(found) = records::read(Cursor::new(&file)) {
            assert!(found.records.len() <= 60);
        }
    }
}
