//! The reader of the first generation's database: files made byte by byte, whole and hostile.

mod hostile;
mod layout;
mod records;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use coriolis_ovm_exporter::snapshots::former::bolt::{Bucket, Damage, Database, Item};

/// Every value of a bucket and of those within it, by the names on the way.
fn all(file: &[u8]) -> (BTreeMap<Vec<u8>, Vec<u8>>, Vec<Damage>) {
    let mut database = Database::open(Cursor::new(file)).unwrap();
    let mut found = BTreeMap::new();
    let mut damage = Vec::new();
    let mut waiting = vec![(Vec::new(), database.root())];
    while let Some((name, bucket)) = waiting.pop() {
        let mut inner: Vec<(Vec<u8>, Bucket)> = Vec::new();
        damage.extend(database.visit(bucket, &mut |key, item| {
            let path = [&name[..], b"/", key].concat();
            match item {
                Item::Bucket(bucket) => inner.push((path, bucket)),
                Item::Value(mut value) => {
                    let mut bytes = Vec::new();
                    let limit = value.limit();
                    value.read_to_end(&mut bytes).unwrap();
                    assert_eq!(bytes.len() as u64, limit);
                    found.insert(path, bytes);
                }
            }
        }));
        waiting.extend(inner);
        assert!(waiting.len() < 100_000, "buckets without end");
    }
    (found, damage)
}
