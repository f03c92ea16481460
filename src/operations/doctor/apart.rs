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

/// Runs this program again for the checks, and gives what it found.
///
/// # Errors
/// That it could not be started.
pub(super) fn run(file: &Path, limit: Duration) -> anyhow::Result<Report> {
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
    let trouble = |what: String| {
        let advice = "run it again; if that does not help, this is a defect of the program";
        Report::of(vec![Finding::bad("doctor", what, advice)])
    };
    Ok(match told {
        Err(_) => trouble("the checks did not end in time".to_owned()),
        Ok(Err(error)) => trouble(format!("the checks cannot be read: {error}")),
        Ok(Ok(line)) => serde_json::from_str(&line)
            .unwrap_or_else(|_| trouble("the checks ended badly".to_owned())),
    })
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
