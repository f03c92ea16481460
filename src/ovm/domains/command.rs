//! Running `xm list` or `xl list`: bounded in time and output, and never left behind.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{Domains, DomainsError, parse_table};

/// The most that a list may have, in bytes. A row has about eighty.
const MAX_OUTPUT: usize = 1 << 20;

/// How much of standard error is kept for the message, in bytes.
const MAX_MESSAGE: usize = 4096;

/// Asks one program for its domains.
pub(super) async fn list(program: &Path, limit: Duration) -> Result<Domains, DomainsError> {
    let output = match tokio::time::timeout(limit, run(program)).await {
        Ok(output) => output?,
        Err(_) => {
            return Err(DomainsError::TimedOut {
                program: program.to_owned(),
                limit,
            });
        }
    };
    if !output.status.success() {
        return Err(DomainsError::Failed {
            program: program.to_owned(),
            status: output.status,
            message: first_line(&output.stderr),
        });
    }
    parse_table(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| DomainsError::NoTable {
        program: program.to_owned(),
    })
}

struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs the program to its end. When this future is dropped, so is the program.
async fn run(program: &Path) -> Result<Output, DomainsError> {
    let started = Command::new(program)
        .arg("list")
        .env_clear()
        .env("LANG", "C")
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|source| DomainsError::Start {
        program: program.to_owned(),
        source,
    })?;
    // Dropped before `child`, so the id cannot belong to anyone else yet.
    let mut group = Group::of(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let (stdout, stderr) = tokio::join!(
            read_up_to(stdout, MAX_OUTPUT + 1, false),
            read_up_to(stderr, MAX_MESSAGE, true)
        );
        Ok::<_, std::io::Error>((stdout?, stderr?))
    };
    let failed = |source| DomainsError::Read {
        program: program.to_owned(),
        source,
    };
    let (stdout, stderr) = read.await.map_err(failed)?;
    if stdout.len() > MAX_OUTPUT {
        return Err(DomainsError::TooMuch {
            program: program.to_owned(),
            limit: MAX_OUTPUT,
        });
    }
    let status = child.wait().await.map_err(failed)?;
    group.0 = None;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// Reads at most `limit` bytes; what follows is thrown away if `drain` says so.
async fn read_up_to(
    stream: Option<impl AsyncRead + Unpin>,
    limit: usize,
    drain: bool,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        (&mut stream).take(limit).read_to_end(&mut bytes).await?;
        if drain {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        }
    }
    Ok(bytes)
}

/// The program and whatever it started. All of it is killed on drop.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(
            leader
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        )
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The first line with text in it, fit for a log.
pub(crate) fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("it wrote no message");
    let printable = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(200).collect()
}
