//! A hash file of the agent: foreign, damaged, or caught while it is rewritten.

#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};

use coriolis_ovm_exporter::ovm::berkeley_db::{Damage, FormatError, HashFile, MAX_OUTPUT};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    // The last page, or the second half, was not written yet. Either it is missed, or nothing of
    // it was wanted: what is lost never goes unsaid.
    for end in [bytes.len().saturating_sub(1), bytes.len() / 2] {
        let cut = read(&bytes[..end]);
        if cut.as_ref().is_ok_and(|cut| cut.damage.is_empty()) {
            assert_eq!(cut, whole, "cut at {end} of {}", bytes.len());
        }
    }
});

/// What came out, with a digest of the records: two readings need not fit in memory at once.
#[derive(Debug, PartialEq)]
struct Reading {
    records: usize,
    digest: u64,
    damage: Vec<Damage>,
}

fn read(bytes: &[u8]) -> Result<Reading, FormatError> {
    let file = HashFile::parse(bytes)?;
    let size = |(key, value): &(Vec<u8>, Vec<u8>)| key.len() + value.len();
    assert!(file.records.iter().map(size).sum::<usize>() <= MAX_OUTPUT);
    assert!(file.damage.len() <= 33, "{} places", file.damage.len());
    for damage in &file.damage {
        assert!(damage.to_string().len() < 200, "{damage}");
    }
    let mut digest = DefaultHasher::new();
    file.records.hash(&mut digest);
    Ok(Reading {
        records: file.records.len(),
        digest: digest.finish(),
        damage: file.damage,
    })
}
