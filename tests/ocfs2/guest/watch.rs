//! What a node's machine tells the host without being asked.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::brief;
use crate::orders::{Line, Lying, MARK, Notice, Uptime};

/// How often to look.
const GLANCE: Duration = Duration::from_millis(20);

/// Milliseconds since the kernel's start.
pub fn uptime() -> Uptime {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let (seconds, rest) = text.split_once('.').unwrap();
    let hundredths: u64 = rest[..2].parse().unwrap();
    seconds.parse::<u64>().unwrap() * 1000 + hundredths * 10
}

/// Says a line to the host, whole.
pub fn say(line: &Line) {
    let text = format!("{MARK}{}\n", serde_json::to_string(line).unwrap());
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

pub fn notice(notice: Notice) {
    say(&Line::Notice(notice));
}

/// Reads the kernel's messages from now on and tells which nodes the cluster gives up.
pub fn evictions() {
    let mut log = File::open("/dev/kmsg").unwrap();
    thread::spawn(move || {
        // A record a read: `priority,sequence,microseconds,flags;message`.
        let mut record = [0; 8192];
        loop {
            // Records may be overwritten before they are read: then the next one comes.
            let Ok(length) = log.read(&mut record) else {
                continue;
            };
            let text = String::from_utf8_lossy(&record[..length]).into_owned();
            if let Some((at, node)) = eviction(&text) {
                notice(Notice::Evicted { node, at });
            }
        }
    });
}

fn eviction(record: &str) -> Option<(Uptime, u8)> {
    let (head, message) = record.split_once(';')?;
    let (_, rest) = message.split_once("o2dlm has evicted node ")?;
    let node = rest.split(' ').next()?.parse().ok()?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    Some((microseconds / 1000, node))
}

/// Tells what the daemon logs of its recoveries.
pub fn recoveries(log: PathBuf) {
    thread::spawn(move || {
        let mut told = 0;
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            for line in text[told..whole].lines() {
                if line.contains("leftovers of an interrupted run removed") {
                    notice(Notice::Recovered {
                        at: uptime(),
                        line: line.to_owned(),
                    });
                }
            }
            told = whole;
            thread::sleep(GLANCE);
        }
    });
}

/// Tells what lies on the shelves, as often as that changes, while `watching`.
pub fn shelves(repositories: usize, watching: &Arc<AtomicBool>) {
    watching.store(true, Ordering::SeqCst);
    let watching = watching.clone();
    thread::spawn(move || {
        let mut last = None;
        while watching.load(Ordering::SeqCst) {
            let asked = uptime();
            let lying = lying(repositories);
            if last.as_ref() != Some(&lying) {
                notice(Notice::Shelf {
                    asked,
                    answered: uptime(),
                    lying: lying.clone(),
                });
                last = Some(lying);
            }
            thread::sleep(GLANCE);
        }
    });
}

/// All that lies in the snapshot folders.
pub fn lying(repositories: usize) -> Vec<Lying> {
    let mut all: Vec<Lying> = (0..repositories)
        .filter_map(|at| fs::read_dir(brief::mount_point(at).join("CoriolisSnapshots")).ok())
        .flatten()
        .filter_map(Result::ok)
        .map(|item| Lying {
            name: item.file_name().to_string_lossy().into_owned(),
            state: state(&item.path()).unwrap_or_default(),
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn state(directory: &Path) -> Option<String> {
    let manifest = fs::read(directory.join("manifest.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    Some(manifest["state"].as_str()?.to_owned())
}
