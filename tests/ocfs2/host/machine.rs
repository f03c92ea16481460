//! One virtual machine: an emulated processor, so that it runs where there is no KVM.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// What a machine is made of.
pub struct Plan<'p> {
    pub setup: &'p Path,
    /// Where the kernel's messages go.
    pub log: &'p Path,
    /// The first disk.
    pub payload: &'p Path,
    /// `/dev/vdb`, `/dev/vdc`, …
    pub disks: &'p [&'p Path],
    /// More arguments for qemu, such as a network.
    pub extra: &'p [&'p str],
}

/// A running machine; killed when dropped.
pub struct Machine {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
    started: Instant,
    first_line: Option<Duration>,
}

impl Machine {
    pub fn boot(plan: &Plan<'_>) -> anyhow::Result<Machine> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", "768", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(plan.setup.join("vmlinux"))
            .arg("-initrd")
            .arg(plan.setup.join("initramfs"))
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .arg("-serial")
            .arg(format!("file:{}", plan.log.display()))
            // The payload's own port: its lines come out of qemu as they are written.
            .args(["-chardev", "stdio,id=payload,signal=off"])
            .args(["-serial", "chardev:payload"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        for (at, disk) in std::iter::once(&plan.payload).chain(plan.disks).enumerate() {
            let options = format!("format=raw,if=none,id=d{at},cache=unsafe");
            qemu.arg("-drive")
                .arg(format!("file={},{options}", disk.display()))
                .arg("-device")
                .arg(format!("virtio-blk-pci,drive=d{at}"));
        }
        let started = Instant::now();
        let mut child = qemu
            .args(plan.extra)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run qemu-system-x86_64")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("qemu has no pipes");
        };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                println!("  {line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Machine {
            child,
            input,
            lines,
            log: plan.log.to_owned(),
            started,
            first_line: None,
        })
    }

    /// From qemu's start to the payload's first line.
    pub fn boot_time(&self) -> Duration {
        self.first_line.unwrap_or_default()
    }

    /// The next line that the payload prints; None when the machine has ended.
    pub fn next_line(&mut self, patience: Duration) -> anyhow::Result<Option<String>> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                self.first_line.get_or_insert(self.started.elapsed());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                bail!(
                    "nothing was heard for {} s; the kernel said: {}",
                    patience.as_secs(),
                    self.kernel()
                )
            }
        }
    }

    /// Waits for a line that begins with `start`, and gives what follows there.
    #[allow(dead_code)] // for scenarios with a part of their own on the host
    pub fn wait_for(&mut self, start: &str, patience: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left)? {
                Some(line) => {
                    if let Some(rest) = line.strip_prefix(start) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                None => bail!("the machine ended without saying {start:?}"),
            }
        }
    }

    /// Sends a line to the payload's standard input.
    #[allow(dead_code)] // as above
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// Takes the power away, at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the payload's end, which has to be a good one.
    pub fn finish(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while self
            .next_line(deadline.saturating_duration_since(Instant::now()))?
            .is_some()
        {}
        let status = self.child.wait()?;
        match status.code() {
            Some(1) => Ok(()),
            // isa-debug-exit doubles the payload's status and adds one.
            Some(code) if code % 2 == 1 => bail!("the payload ended with status {}", code / 2),
            _ => bail!("the machine broke down ({status}): {}", self.kernel()),
        }
    }

    /// The last of the kernel's messages.
    fn kernel(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}
