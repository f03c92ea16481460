//! What is written to disks, and what of them is cached.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::scribble;

use crate::process;

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// Blocks that are written before they get their places.
const AT_ONCE: usize = 16 << 10;

/// Random bytes from end to end.
pub fn fill(disk: &Path, seed: u64) -> anyhow::Result<()> {
    let file = writer(disk)?;
    let size = file.metadata()?.len();
    scribble(&file, &mut Random::new(seed), 0, size)?;
    Ok(file.sync_all()?)
}

/// Words of a vocabulary from end to end: what packs to less than half.
pub fn write_words(disk: &Path, seed: u64) -> anyhow::Result<()> {
    let file = writer(disk)?;
    let size = file.metadata()?.len();
    let mut random = Random::new(seed);
    let words: Vec<Vec<u8>> = (0..4096)
        .map(|_| {
            let length = 3 + random.below(8);
            let letter = |_| b'a' + u8::try_from(random.below(26)).unwrap_or(0);
            (0..length).map(letter).chain([b' ']).collect()
        })
        .collect();
    let mut page = Vec::new();
    let mut position = 0;
    while position < size {
        page.clear();
        while page.len() < 1 << 20 {
            let word = usize::try_from(random.below(words.len() as u64))?;
            page.extend_from_slice(&words[word]);
        }
        let length = usize::try_from((size - position).min(1 << 20))?;
        file.write_all_at(&page[..length], position)?;
        position += length as u64;
    }
    Ok(file.sync_all()?)
}

/// `count` blocks of random bytes, `apart` blocks from one to the next; the first one at block 0.
pub fn blocks(disk: &Path, seed: u64, count: u64, apart: u64) -> anyhow::Result<()> {
    write_blocks(disk, seed, (0..count).map(|at| at * apart))
}

/// So many different blocks of the disk, anywhere, with random bytes. How many ranges these are.
pub fn scatter(disk: &Path, seed: u64, count: u64) -> anyhow::Result<u64> {
    let all = disk.metadata()?.len() / BLOCK;
    // One in each stretch of the disk, so that no two are the same.
    let mut random = Random::new(seed);
    let places: Vec<u64> = (0..count)
        .map(|at| {
            let (from, to) = (at * all / count, (at + 1) * all / count);
            from + random.below(to - from)
        })
        .collect();
    let neighbours = places.windows(2).filter(|two| two[0] + 1 == two[1]);
    let ranges = count - neighbours.count() as u64;
    write_blocks(disk, seed, places.into_iter())?;
    Ok(ranges)
}

fn write_blocks(disk: &Path, seed: u64, places: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let file = writer(disk)?;
    let mut random = Random::new(seed);
    let mut bytes = vec![0; 4096];
    for (at, place) in places.enumerate() {
        random.fill(&mut bytes);
        file.write_all_at(&bytes, place * BLOCK)?;
        // For each piece that has no place yet XFS sets aside what its map may need at worst. With
        // very many the file system seems full, and every further write waits for all before it.
        if at % AT_ONCE == AT_ONCE - 1 {
            file.sync_data()?;
        }
    }
    Ok(file.sync_all()?)
}

fn writer(disk: &Path) -> anyhow::Result<File> {
    let file = File::options().write(true).open(disk);
    file.with_context(|| format!("cannot open {}", disk.display()))
}

/// Brings all of a file into the page cache.
pub fn cache(path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    let (cached, size) = (cached(path)?, file.metadata()?.len());
    // Holes and the last page make a difference.
    if cached < size / 10 * 9 {
        anyhow::bail!(
            "only {cached} of the {size} bytes of {} stay in the page cache: too little memory",
            path.display()
        );
    }
    Ok(())
}

/// Bytes of a file that are in the page cache.
pub fn cached(path: &Path) -> anyhow::Result<u64> {
    let mut fincore = Command::new("fincore");
    fincore.args(["--bytes", "--noheadings", "--output", "RES"]);
    let told = process::finish(fincore.arg(path))?.output;
    told.trim().parse().context("what fincore tells")
}

/// Takes the bytes of all files from the page cache, as far as they are written out. Maps of open
/// files stay.
pub fn forget_bytes() -> io::Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "1")
}

/// Empties the page cache, of all that is written out.
pub fn chill() -> io::Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
