//! The generic way to find what changed: a checksum of every block of the disk, compared with those
//! of the last time.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Small enough that a block that was written takes few others along.
const BLOCK: usize = 64 << 10;
const DIGEST: usize = 32;

/// What it is sent for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Errand {
    /// What was snapshotted.
    pub source: PathBuf,
    /// What is to become the same.
    pub replica: PathBuf,
    /// The checksums of the last time; empty the first time.
    pub digests: PathBuf,
}

impl Errand {
    /// A process that does it.
    pub fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("scan").arg(serde_json::to_string(self)?);
        Ok(command)
    }
}

/// Reads all of the source, and writes the blocks that differ.
pub fn run(errand: &Errand) -> anyhow::Result<()> {
    let known = read_if_there(&errand.digests)?;
    let mut source = File::open(&errand.source)?;
    let replica = File::options().write(true).open(&errand.replica)?;
    let (mut found, mut written) = (Vec::with_capacity(known.len()), 0_u64);
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match source.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        for block in buffer[..filled].chunks(BLOCK) {
            let digest = Sha256::digest(block);
            if known.get(found.len()..found.len() + DIGEST) != Some(&digest[..]) {
                replica.write_all_at(block, position)?;
                written += block.len() as u64;
            }
            found.extend_from_slice(&digest);
            position += block.len() as u64;
        }
        if filled < buffer.len() {
            break;
        }
    }
    replica.set_len(position)?;
    replica.sync_all()?;
    fs::write(&errand.digests, found)?;
    println!("{written}");
    Ok(())
}

fn read_if_there(path: &Path) -> anyhow::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other?),
    }
}
