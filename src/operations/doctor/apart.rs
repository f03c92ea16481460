//! The checks in a process of their own.
//!
//! A thread that the kernel holds in a call to storage keeps its process from ending, even when it
//! is killed, for as long as the storage does not answer. So that process is not waited for.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::finding::{Finding, Report};
use crate::protocol::duration;

/// Rounds of checks, one after the other.
const ROUNDS: u32 = 3;
/// How much longer than they may take they are waited for: a busy machine is slow.
const LENIENCE: Duration = Duration::from_secs(10);

/// Runs this program again for the checks, and gives what it found. That it found nothing is bad too.
pub(super) fn run(file: &Path, limit: Duration) -> Report {
    told(file, limit)
        .and_then(|line| serde_json::from_str(&line).context("the checks ended badly"))
        .unwrap_or_else(|error| {
            let advice = "run it again; if that does not help, this is a defect of the program";
            Report::of(vec![Finding::bad("doctor", format!("{error:#}"), advice)])
        })
}

/// The line that it prints.
fn told(file: &Path, limit: Duration) -> anyhow::Result<String> {
    let mut child = Command::new("/proc/self/exe")
        .arg("--config")
        .arg(file)
        .args(["doctor", "--here", "--time-limit"])
        .arg(duration::format(limit))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Whoever waits for the end of our own would wait for this process too.
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the checks")?;
    let output = child.stdout.take().context("cannot read from the checks")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        // One line, not up to the end: that comes only when the process is gone.
        let read = BufReader::new(output).read_line(&mut line);
        let _ = sender.send(read.map(|_| line));
    });
    let told = receiver.recv_timeout(limit * ROUNDS + LENIENCE);
    end(&mut child);
    told.context("the checks did not end in time")?
        .context("cannot read from the checks")
}

/// Kills it, and waits only as long as one takes that the kernel does not hold.
fn end(child: &mut Child) {
    let _ = child.kill();
    for _ in 0..20 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
