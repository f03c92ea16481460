//! Resident memory of processes.

use std::fs;

use anyhow::Context as _;
use nix::unistd::Pid;

/// The largest resident memory of a process since it began, or since [`forget`]; bytes.
pub fn peak(process: Pid) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = text.context("a process without memory")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Makes the largest so far what there is now.
pub fn forget(process: Pid) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// For people.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
