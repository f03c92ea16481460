//! The hash file reader, key by key against files that the real libdb wrote.

// Not only tests unwrap here, their helpers do too.
#![allow(clippy::unwrap_used)]

mod agent;
mod hostile;
mod libdb;
mod rewriting;

use std::fs;
use std::path::Path;

use coriolis_ovm_exporter::ovm::berkeley_db::{self, FormatError, HashFile, Record};

use libdb::{BYTE_ORDERS, PAGE_SIZES};

/// Reads `path` with our reader and checks that it is whole and what libdb says it is.
fn same_as_libdb(path: &Path) -> Vec<Record> {
    let file = berkeley_db::read(path).unwrap();
    assert_eq!(file.damage, [], "{}", path.display());
    let records = libdb::sorted(file.records);
    assert!(
        records == libdb::sorted(libdb::dump(path)),
        "{}: differs from libdb",
        path.display()
    );
    records
}

/// Records of every length around a page: none, one byte, just fits, just not, many pages.
fn records_of_all_lengths(page: u32) -> Vec<Record> {
    let page = usize::try_from(page).unwrap();
    let mut records = Vec::new();
    let around = |at: usize| (at.saturating_sub(20)..at + 20).step_by(3);
    let lengths: Vec<usize> = (0..5)
        .chain(around(page / 4))
        .chain(around(page / 2))
        .chain(around(page))
        .chain([3 * page, 7 * page + 1, 300_000])
        .collect();
    for (number, len) in lengths.iter().enumerate() {
        let byte = u8::try_from(number % 256).unwrap();
        records.push((
            format!("value of {len} bytes, {number}").into_bytes(),
            vec![byte; *len],
        ));
        let mut key = format!("key {number} ").into_bytes();
        key.resize(key.len() + len, byte);
        records.push((key, format!("its key is long by {len}").into_bytes()));
    }
    records
}

#[test]
fn every_page_size_and_byte_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for page in PAGE_SIZES {
        for order in BYTE_ORDERS {
            let path = dir.path().join(format!("{page}-{order}"));
            let records = records_of_all_lengths(page);
            libdb::load(
                &path,
                &[("db_pagesize", page), ("db_lorder", order)],
                &records,
            );
            // The tool took the header's word for it.
            let head = fs::read(&path).unwrap();
            let size = head[20..24].try_into().unwrap();
            let size = if order == 1234 {
                u32::from_le_bytes(size)
            } else {
                u32::from_be_bytes(size)
            };
            assert_eq!(size, page);
            let read = same_as_libdb(&path);
            assert_eq!(
                libdb::by_key(&read),
                libdb::by_key(&records),
                "{page} {order}"
            );
            compared += read.len();
        }
    }
    println!("{compared} records compared");
}

#[test]
fn ten_thousand_keys() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (0..10_000u32)
        .map(|n| {
            (
                format!("{n:032x}").into_bytes(),
                vec![b'v'; usize::try_from(n % 700).unwrap()],
            )
        })
        .collect();
    for page in [512, 4096, 65536] {
        for order in BYTE_ORDERS {
            let path = dir.path().join(format!("{page}-{order}"));
            libdb::load(
                &path,
                &[("db_pagesize", page), ("db_lorder", order)],
                &records,
            );
            assert_eq!(
                libdb::by_key(&same_as_libdb(&path)),
                libdb::by_key(&records)
            );
        }
    }
}

#[test]
fn an_empty_file_of_libdb_has_no_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty");
    libdb::load(&path, &[], &[]);
    assert_eq!(same_as_libdb(&path), []);
}

/// Puts, deletes and overwrites at random; what is left comes back from Python's dictionary. Keys
/// are shorter than a page: of longer ones libdb 5.3 itself loses some.
const CHURN: &str = r#"
import random
path, page, order, flags, locking, seed = sys.argv[1], *map(int, sys.argv[2:7])
rng = random.Random(seed)
env = None
if locking:  # as bsddb.hashopen opens it: a private environment
    env = db.DBEnv()
    env.open('.', db.DB_PRIVATE | db.DB_CREATE | db.DB_THREAD | db.DB_INIT_LOCK | db.DB_INIT_MPOOL)
d = db.DB(env)
d.set_pagesize(page)
d.set_lorder(order)
if flags: d.set_flags(flags)
d.open(path, None, db.DB_HASH, db.DB_CREATE | (db.DB_THREAD if locking else 0))
left = {}
# With large pages the file would come near what is refused as too large.
for n in range(4000 if page < 65536 else 1500):
    key = b'key %d' % rng.randrange(1500)
    if rng.random() < 0.45 and left:
        key = rng.choice(sorted(left)) if n % 50 == 0 else key
        if key in left:
            d.delete(key)
            del left[key]
    else:
        length = rng.choice((3, 40, 200, page // 2, page, 3 * page))
        left[key] = bytes([rng.randrange(256)]) * length
        d.put(key, left[key])
for key in sorted(left)[::2]:
    d.delete(key)
    del left[key]
d.sync()
d.close()
for key, value in left.items(): print(key.hex(), len(value), value[:1].hex())
"#;

#[test]
fn after_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let seed = rand::random::<u32>().to_string();
    println!("seed {seed}");
    for (page, order, checksum, locking) in [
        ("512", "1234", false, false),
        ("512", "4321", false, true),
        ("4096", "1234", false, true),
        ("4096", "1234", true, false),
        ("512", "4321", true, false),
        ("65536", "4321", false, false),
    ] {
        let path = dir
            .path()
            .join(format!("{page}-{order}-{checksum}-{locking}"));
        let flags = if checksum {
            libdb::python("print(db.DB_CHKSUM)", &[])
        } else {
            "0".into()
        };
        let locking = if locking { "1" } else { "0" };
        let arguments = [
            path.to_str().unwrap(),
            page,
            order,
            flags.trim(),
            locking,
            &seed,
        ];
        let left = libdb::python(CHURN, &arguments);
        let read: Vec<String> = libdb::by_key(&same_as_libdb(&path))
            .iter()
            .map(|(key, value)| {
                let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{hex} {} {:02x}", value.len(), value[0])
            })
            .collect();
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        let mut read: Vec<&str> = read.iter().map(String::as_str).collect();
        read.sort_unstable();
        assert!(left.len() > 100, "only {} left", left.len());
        assert_eq!(read, left, "{}", path.display());
        println!("{}: {} records", path.display(), read.len());
    }
}

#[test]
fn emptied_by_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emptied");
    libdb::python(
        "d = db.DB(); d.set_pagesize(512); d.open(sys.argv[1], None, db.DB_HASH, db.DB_CREATE)\n\
         for n in range(3000): d.put(b'%d' % n, b'v' * n)\n\
         for n in range(3000): d.delete(b'%d' % n)\n\
         d.close()",
        &[path.to_str().unwrap()],
    );
    assert!(fs::metadata(&path).unwrap().len() > 1 << 20);
    assert_eq!(same_as_libdb(&path), []);
}

#[test]
fn duplicates_on_a_page_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    for order in BYTE_ORDERS {
        let path = dir.path().join(order.to_string());
        let mut records: Vec<Record> = (0..9)
            .map(|n| (b"several".to_vec(), vec![b'v'; n]))
            .collect();
        records.push((b"one".to_vec(), b"value".to_vec()));
        libdb::load(&path, &[("duplicates", 1), ("db_lorder", order)], &records);
        assert_eq!(same_as_libdb(&path), libdb::sorted(records));
    }
}

#[test]
fn duplicates_on_pages_of_their_own_are_said_and_hide_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("many");
    let mut records: Vec<Record> = (0..500u32)
        .map(|n| (b"many".to_vec(), format!("value {n:050}").into_bytes()))
        .collect();
    records.push((b"one".to_vec(), b"value".to_vec()));
    libdb::load(&path, &[("duplicates", 1), ("db_pagesize", 512)], &records);
    let file = berkeley_db::read(&path).unwrap();
    assert_eq!(file.records, [(b"one".to_vec(), b"value".to_vec())]);
    let [damage] = file.damage.as_slice() else {
        panic!("{:?}", file.damage)
    };
    assert!(damage.to_string().contains("duplicates"), "{damage}");
}

/// Makes of a file by libdb 5.3 what libdb 4.5 would have written: version 8, hash pages of the
/// type whose items stand in no order. That libdb reads the result as the same records shows that
/// the made file is right.
fn as_older_libdb(bytes: &mut [u8], version: u8) {
    let page = usize::try_from(u32::from_le_bytes(bytes[20..24].try_into().unwrap())).unwrap();
    bytes[16] = version;
    for page in bytes
        .chunks_exact_mut(page)
        .skip(1)
        .filter(|page| page[25] == 13)
    {
        page[25] = 2;
        reverse_pairs(page);
    }
}

/// Packs a little-endian hash page anew with its pairs in reverse order.
fn reverse_pairs(page: &mut [u8]) {
    let items = usize::from(u16::from_le_bytes([page[20], page[21]]));
    let offset = |page: &[u8], item: usize| {
        usize::from(u16::from_le_bytes([
            page[26 + 2 * item],
            page[27 + 2 * item],
        ]))
    };
    let mut contents = Vec::new();
    let mut end = page.len();
    for item in 0..items {
        contents.push(page[offset(page, item)..end].to_vec());
        end = offset(page, item);
    }
    let reversed = contents.chunks(2).rev().flatten();
    let mut end = page.len();
    for (item, content) in reversed.enumerate() {
        let begin = end - content.len();
        page[begin..end].copy_from_slice(content);
        page[26 + 2 * item..28 + 2 * item]
            .copy_from_slice(&u16::try_from(begin).unwrap().to_le_bytes());
        end = begin;
    }
}

#[test]
fn unsorted_pages_of_older_versions() {
    let dir = tempfile::tempdir().unwrap();
    for page in [512, 4096, 65536] {
        let path = dir.path().join(page.to_string());
        let records = records_of_all_lengths(page);
        libdb::load(
            &path,
            &[("db_pagesize", page), ("db_lorder", 1234)],
            &records,
        );
        let mut bytes = fs::read(&path).unwrap();
        for version in [7, 8] {
            as_older_libdb(&mut bytes, version);
            fs::write(&path, &bytes).unwrap();
            let file = berkeley_db::read(&path).unwrap();
            assert_eq!(file.damage, []);
            assert_eq!(libdb::by_key(&file.records), libdb::by_key(&records));
        }
        libdb::upgrade(&path);
        assert_eq!(
            fs::read(&path).unwrap()[16],
            9,
            "libdb did not take it for an older file"
        );
        assert_eq!(
            libdb::by_key(&same_as_libdb(&path)),
            libdb::by_key(&records)
        );
    }
}

#[test]
fn other_files_of_libdb_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let records = [(b"key".to_vec(), b"value".to_vec())];
    let refused = |path: &Path| HashFile::parse(&fs::read(path).unwrap()).unwrap_err();

    for order in BYTE_ORDERS {
        let path = dir.path().join(format!("btree-{order}"));
        libdb::load_as("btree", &path, &[], &[("db_lorder", order)], &records);
        assert!(matches!(refused(&path), FormatError::NotHash(why) if why.contains("B-tree")));
    }
    let path = dir.path().join("encrypted");
    libdb::load_as("hash", &path, &["-P", "secret"], &[], &records);
    assert_eq!(refused(&path), FormatError::Encrypted);
    let error = berkeley_db::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("encrypted") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
}
