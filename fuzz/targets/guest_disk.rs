//! A guest's disk: a size, and those of its sectors that are not zeros, their checksums made good.

#![no_main]

use std::collections::HashMap;
use std::io;

use coriolis_ovm_exporter::guest::{self, MOST, Source};
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;

/// Size, then number and bytes of each sector; a number that comes twice is the later one's.
struct Disk {
    sectors: HashMap<u64, Vec<u8>>,
}

impl Disk {
    fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let byte = |at: u64| {
            let sector = self.sectors.get(&(at / SECTOR as u64));
            sector.map_or(0, |sector| sector[(at % SECTOR as u64) as usize])
        };
        (0..length as u64)
            .map(|number| byte(at.wrapping_add(number)))
            .collect()
    }

    fn put(&mut self, sector: u64, at: usize, value: u32) {
        if let Some(sector) = self.sectors.get_mut(&sector) {
            sector[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Without this, whatever is behind a checksum is never reached.
    fn seal(&mut self) {
        let numbers: Vec<u64> = self.sectors.keys().copied().collect();
        for number in numbers {
            let sector = self.sectors[&number].clone();
            let word = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().expect("four"));
            let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
            if sector.starts_with(b"EFI PART") {
                let length = word(80).saturating_mul(word(84)).min(1 << 16) as usize;
                let table = self.read(long(72).wrapping_mul(SECTOR as u64), length);
                self.put(number, 88, crc32fast::hash(&table));
                self.put(number, 16, 0);
                let header = &self.sectors[&number][..word(12).clamp(92, 512) as usize];
                let sum = crc32fast::hash(header);
                self.put(number, 16, sum);
            } else if sector.starts_with(b"LABELONE") {
                self.put(number, 16, lvm(&sector[20..]));
            } else if sector[4..].starts_with(b" LVM2 x[5A%r0N*>") {
                // An area that is not a ring yet.
                let (at, length) = (long(40), long(48).min(1 << 16) as usize);
                let begin = (number * SECTOR as u64).wrapping_add(at);
                let text = self.read(begin, length);
                self.put(number, 56, lvm(&text));
                let sum = lvm(&self.sectors[&number][4..]);
                self.put(number, 0, sum);
            }
        }
    }
}

/// LVM's checksum.
fn lvm(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    !hasher.finalize()
}

impl Source for Disk {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.copy_from_slice(&self.read(offset, buffer.len()));
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let size = u64::from_le_bytes(*size);
    let sectors = rest
        .chunks_exact(8 + SECTOR)
        .filter_map(|record| record.split_first_chunk::<8>())
        .map(|(number, sector)| (u64::from_le_bytes(*number) % (1 << 40), sector.to_vec()))
        .collect();
    let mut disk = Disk { sectors };
    disk.seal();
    let found = guest::look(&mut disk, size);
    assert!(found.bytes_read <= MOST, "{} bytes", found.bytes_read);
    assert!(found.notes.len() <= 32, "{:?}", found.notes);
    for partition in &found.partitions {
        let end = partition.start.checked_add(partition.length);
        assert!(end.is_some_and(|end| end <= size), "{partition:?}");
    }
    let checks = guest::checks::for_disks([&found].into_iter());
    assert!(!checks.is_empty());
    let written = serde_json::to_vec(&found).expect("it can be written");
    let again = serde_json::from_slice(&written).expect("and read");
    assert_eq!(found, again);
    let _ = guest::doubles([("a", &found), ("b", &found)].into_iter());
});
