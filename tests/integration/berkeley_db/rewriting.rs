//! A file that its owner rewrites while it is read.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::ovm::berkeley_db::{self, Record};

use super::libdb;

const PAGE: usize = 4096;

fn version(number: usize) -> Vec<Record> {
    let name = if number == 0 { "old" } else { "new" };
    (0..300 + 600 * number)
        .map(|n| {
            (
                format!("{name} key {n}").into_bytes(),
                format!("{name} value {n}").into_bytes(),
            )
        })
        .collect()
}

/// Rewrites the file in place, a page at a time and slowly, so that readings do meet the middle.
fn rewrite_in_place(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for (index, page) in bytes.chunks(PAGE).enumerate() {
        file.write_all_at(page, u64::try_from(index * PAGE).unwrap())
            .unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    file.set_len(u64::try_from(bytes.len()).unwrap()).unwrap();
}

#[test]
fn every_reading_is_one_whole_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repository");
    let versions = [version(0), version(1)];
    let files = [0, 1].map(|number| {
        let path = dir.path().join(format!("version-{number}"));
        let header = [("db_pagesize", u32::try_from(PAGE).unwrap())];
        libdb::load(&path, &header, &versions[number]);
        fs::read(&path).unwrap()
    });
    let versions = versions.map(libdb::sorted);
    assert_ne!(files[0].len(), files[1].len());
    fs::write(&path, &files[0]).unwrap();

    let done = AtomicBool::new(false);
    let (mut readings, mut seen, mut slow) = (0, [0, 0], 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=14 {
                rewrite_in_place(&path, &files[round % 2]);
                thread::sleep(Duration::from_millis(160));
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            let file = berkeley_db::read(&path).unwrap();
            slow += usize::from(start.elapsed() >= Duration::from_millis(50));
            assert_eq!(file.damage, []);
            let records = libdb::sorted(file.records);
            let number = versions.iter().position(|version| *version == records);
            seen[number.expect("a mixture of two versions")] += 1;
            readings += 1;
            thread::sleep(Duration::from_millis(3));
        }
    });
    println!("{readings} readings, {seen:?} of each version, {slow} waited or read again");
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    assert!(slow > 0, "no reading met a rewrite");
}

/// The owner is libdb itself: one process adds and deletes and syncs, as the agent does.
#[test]
fn libdb_rewrites_while_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repository");
    let name = path.to_str().unwrap().to_owned();
    let stable = |n: u32| (format!("stable {n}").into_bytes(), vec![b's'; 1500]);
    libdb::load(
        &path,
        &[("db_pagesize", 512)],
        &(0..200).map(stable).collect::<Vec<_>>(),
    );

    let done = AtomicBool::new(false);
    let mut readings = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            libdb::python(
                "import time\n\
                 d = db.DB(); d.open(sys.argv[1], None, db.DB_HASH, 0)\n\
                 for round in range(12):\n\
                 \x20   for n in range(300):\n\
                 \x20       if round % 3 == 2: d.delete(b'moving %d' % n)\n\
                 \x20       else: d.put(b'moving %d' % n, b'm' * (round * 97 + n))\n\
                 \x20   d.sync(); time.sleep(0.25)\n\
                 d.close()",
                &[&name],
            );
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let file = berkeley_db::read(&path).unwrap();
            assert_eq!(file.damage, []);
            let records = libdb::by_key(&file.records);
            for n in 0..200 {
                let (key, value) = stable(n);
                assert_eq!(records.get(&key), Some(&value), "{}", key.escape_ascii());
            }
            readings += 1;
        }
    });
    println!("{readings} readings");
    assert!(readings > 5);
}
