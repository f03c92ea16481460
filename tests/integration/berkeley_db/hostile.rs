//! Files by libdb, cut and changed: every reading ends, within bounds, without a panic.

use std::fs;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::ovm::berkeley_db::{HashFile, MAX_OUTPUT, Record};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::libdb;

/// Small files with everything in them: several buckets, linked pages, long keys and values,
/// duplicates; both byte orders.
fn victims() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut victims = Vec::new();
    for order in libdb::BYTE_ORDERS {
        for page in [512, 4096] {
            let len = usize::try_from(page).unwrap();
            let mut records: Vec<Record> = (0..40)
                .map(|n| (format!("key {n}").into_bytes(), vec![b'v'; n * 7]))
                .chain((0..5).map(|n| (b"several".to_vec(), vec![b'd'; n])))
                .collect();
            records.push((b"long value".to_vec(), vec![b'l'; 3 * len]));
            records.push((vec![b'k'; 2 * len], b"long key".to_vec()));
            let header = [
                ("db_pagesize", page),
                ("db_lorder", order),
                ("duplicates", 1),
            ];
            libdb::load(&path, &header, &records);
            victims.push(fs::read(&path).unwrap());
            fs::remove_file(&path).unwrap();
        }
    }
    victims
}

/// Parses and checks the bounds. `None` for a file that was refused.
fn bounded(bytes: &[u8]) -> Option<HashFile> {
    let start = Instant::now();
    let file = HashFile::parse(bytes).ok();
    if let Some(file) = &file {
        let size: usize = file
            .records
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        assert!(size <= MAX_OUTPUT, "{size} bytes out of {}", bytes.len());
        assert!(
            file.damage.len() <= 33,
            "{} places of damage",
            file.damage.len()
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "took {:?}",
        start.elapsed()
    );
    file
}

#[test]
fn cut_at_every_byte() {
    for victim in victims() {
        let whole = bounded(&victim).unwrap();
        assert!(whole.damage.is_empty());
        assert!(whole.records.len() >= 47);
        for end in 0..victim.len() {
            // A cut never invents a record, and never goes unsaid when one is lost.
            let Some(cut) = bounded(&victim[..end]) else {
                continue;
            };
            assert!(
                cut.records
                    .iter()
                    .all(|record| whole.records.contains(record)),
                "{end}"
            );
            if cut.records.len() < whole.records.len() {
                assert!(!cut.damage.is_empty(), "cut at {end}: lost records unsaid");
            }
        }
    }
}

#[test]
fn bytes_changed_at_random() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut refused = 0;
    for victim in victims() {
        for round in 0..5_000 {
            let mut bytes = victim.clone();
            for _ in 0..rng.random_range(1..20) {
                // Half of the changes hit the metadata or a page's header and offsets.
                let at = match round % 2 {
                    0 => rng.random_range(0..bytes.len()),
                    _ => rng.random_range(0..bytes.len() / 512) * 512 + rng.random_range(0..64),
                };
                bytes[at] = match rng.random_range(0..3) {
                    0 => rng.random(),
                    1 => [0, 1, 2, 3, 4, 7, 13, 255][rng.random_range(0..8)],
                    _ => bytes[at] ^ (1 << rng.random_range(0..8)),
                };
            }
            refused += u32::from(bounded(&bytes).is_none());
        }
    }
    println!("20000 changed files, {refused} refused");
}

#[test]
fn pages_swapped_and_repeated() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for victim in victims() {
        let whole = bounded(&victim).unwrap();
        // Of the two page sizes only 4096 (0x1000) has this byte, in either order.
        let page = if victim[20..24].contains(&0x10) {
            4096
        } else {
            512
        };
        let pages = victim.len() / page;
        for _ in 0..2_000 {
            // What a rewrite that was caught halfway looks like: some pages are others. A page
            // that is all zero is an empty one to libdb, so its coming is nothing to notice.
            let mut bytes = victim.clone();
            let (from, to) = (
                rng.random_range(1..pages) * page,
                rng.random_range(1..pages) * page,
            );
            bytes.copy_within(from..from + page, to);
            if bytes[from..from + 26].iter().all(|byte| *byte == 0) {
                continue;
            }
            let file = bounded(&bytes).unwrap();
            if file.records.len() < whole.records.len() {
                assert!(
                    !file.damage.is_empty(),
                    "{from} over {to}: lost records unsaid"
                );
            }
        }
    }
}
