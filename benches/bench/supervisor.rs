//! The outer part: nothing that is made here outlives it.
//!
//! Everything runs in namespaces of its own: processes, so that all of them end with the first one;
//! mounts, which the kernel undoes with the last of them, and loop devices with these; network, so
//! that nobody else's packets are on the loopback. The first process is killed when this one ends,
//! however that may be. What is left then is a folder: this part removes it, or if it was killed
//! itself, the next run does.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Wish;
use crate::bench::Bench;
use crate::rooms::{Room, gigabytes};
use crate::{figures, loops, machine};

/// Whatever takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// The same in the short mode, which takes half a minute.
const SHORT_PATIENCE: Duration = Duration::from_secs(300);

pub fn run(wish: &Wish) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("it mounts file systems and makes a network of its own: run it as root");
    }
    let groups = figures::wanted(wish)?;
    let space = Bench::space(wish, &groups);
    println!(
        "Takes up to {} below {} (and gives it back).",
        gigabytes(space),
        wish.parent.display()
    );
    let (memory, needed) = (machine::available_memory(), Bench::memory(wish));
    if memory < needed {
        bail!(
            "{} of memory are free, and this takes {}: what is read has to be in the page cache",
            gigabytes(memory),
            gigabytes(needed)
        );
    }
    let room = Room::make(&wish.parent, space)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe()?)
        .arg("inner")
        .args(wish.words())
        .env("TMPDIR", room.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let patience = if wish.short { SHORT_PATIENCE } else { PATIENCE };
    let done = runtime.block_on(watched(command, patience));
    wait_until_detached(&room);
    done
}

/// Runs it to its end, to the first signal, or as long as one can wait.
async fn watched(command: Command, patience: Duration) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut child = tokio::process::Command::from(command)
        .spawn()
        .context("cannot run setpriv, of Debian's util-linux")?;
    let stopped = tokio::select! {
        status = child.wait() => {
            let status = status?;
            if !status.success() {
                bail!("the measurements failed ({status})");
            }
            return Ok(());
        }
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "SIGHUP",
        () = tokio::time::sleep(patience) => "the clock: it hangs",
    };
    child.kill().await?;
    bail!("stopped by {stopped}; nothing is left behind");
}

/// The kernel takes mounts and loop devices away a moment after the last process.
fn wait_until_detached(room: &Room) {
    let begun = Instant::now();
    while !loops::below(room.path()).is_empty() {
        if begun.elapsed() > Duration::from_secs(30) {
            eprintln!("bench: still attached: {:?}", loops::below(room.path()));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
