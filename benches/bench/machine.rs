//! What it is measured on.

use std::fs;
use std::thread;

/// Processor, cores, memory, kernel.
pub fn description() -> String {
    let cpu = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| "?".to_owned());
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cpu}, {cores} cores, {} GiB, Linux {kernel}",
        memory().div_ceil(1 << 30)
    )
}

/// Memory that programs may still take, bytes.
pub fn available_memory() -> u64 {
    kilobytes("MemAvailable")
}

fn memory() -> u64 {
    kilobytes("MemTotal")
}

fn kilobytes(name: &str) -> u64 {
    let value = first_value("/proc/meminfo", name).unwrap_or_default();
    let number = value.split(' ').next().and_then(|text| text.parse().ok());
    number.unwrap_or(0_u64) * 1024
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = read("/proc/loadavg");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn first_value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
