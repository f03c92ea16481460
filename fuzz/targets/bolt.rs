//! A database of the first generation, or what somebody put in its place.

#![no_main]

use std::io::{Cursor, Read};

use coriolis_ovm_exporter::snapshots::former::bolt::{Bucket, Database, Item};
use coriolis_ovm_exporter::snapshots::former::records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut database) = Database::open(Cursor::new(bytes)) {
        let mut buckets = vec![(database.root(), 0)];
        while let Some((bucket, depth)) = buckets.pop() {
            let inner = visit(&mut database, bucket, bytes.len() as u64);
            // A bucket may hold itself: whoever descends has to stop.
            if depth < 3 {
                buckets.extend(inner.into_iter().take(8).map(|bucket| (bucket, depth + 1)));
            }
        }
    }
    if let Ok(found) = records::read(Cursor::new(bytes)) {
        assert!(found.faults.len() <= 32, "{} faults", found.faults.len());
        for (id, record) in &found.records {
            assert_eq!(*id, record.id);
            assert!(!record.vm_id.is_empty());
        }
    }
});

/// Every entry of a bucket: together not more than the file.
fn visit(database: &mut Database<Cursor<&[u8]>>, bucket: Bucket, len: u64) -> Vec<Bucket> {
    let mut inner = Vec::new();
    let mut total = 0;
    let mut last: Option<Vec<u8>> = None;
    let damage = database.visit(bucket, &mut |key, item| {
        assert!(
            last.as_deref().is_none_or(|last| last < key),
            "out of order"
        );
        last = Some(key.to_vec());
        total += key.len() as u64;
        match item {
            Item::Bucket(bucket) => inner.push(bucket),
            Item::Value(mut value) => {
                let mut content = Vec::new();
                let limit = value.limit();
                value.read_to_end(&mut content).expect("it was checked");
                assert_eq!(content.len() as u64, limit, "a value past the end");
                total += limit;
            }
        }
    });
    assert!(total <= len, "{total} bytes of {len}");
    assert!(damage.len() <= 34, "{} places", damage.len());
    for damage in &damage {
        assert!(damage.to_string().len() < 200, "{damage}");
    }
    inner
}
