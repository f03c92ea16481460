//! One virtual machine: an emulated processor, so that it runs where there is no KVM.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::Control;
use crate::orders::MARK;

/// What a machine is made of.
pub struct Plan<'p> {
    /// What its lines are told from others by.
    pub name: &'p str,
    pub setup: &'p Path,
    pub processors: u8,
    /// MiB.
    pub memory: u32,
    /// More lists of modules for the initramfs to load.
    pub modules: &'p [&'p str],
    /// Where the kernel's messages go.
    pub log: &'p Path,
    /// The first disk.
    pub payload: &'p Path,
    /// `/dev/vdb`, `/dev/vdc`, …
    pub disks: &'p [&'p Path],
    /// Where the writes of each disk are logged (see `write_log`); empty where they are not.
    pub logs: &'p [PathBuf],
    /// Other machines have the same disks.
    pub shared: bool,
    /// More arguments for qemu, such as a network.
    pub extra: &'p [String],
}

/// A running machine; killed when dropped.
pub struct Machine {
    child: Child,
    control: Control,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
    started: Instant,
    first_line: Option<Duration>,
}

impl Machine {
    pub fn boot(plan: &Plan<'_>) -> anyhow::Result<Machine> {
        // A slow console would keep a pool's node from its heartbeat.
        let loud = if plan.shared { "" } else { "loglevel=6 " };
        // Whoever kills this test kills its machines.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", &plan.processors.to_string()])
            .args(["-m", &plan.memory.to_string()])
            .args(["-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(plan.setup.join("vmlinux"))
            .arg("-initrd")
            .arg(plan.setup.join("initramfs"))
            .arg("-append")
            .arg(format!(
                // A busy host is late with the timer that the kernel would check.
                "console=ttyS0 quiet {loud}panic=-1 no_timer_check modules={}",
                plan.modules.join(",")
            ))
            .arg("-serial")
            .arg(format!("file:{}", plan.log.display()))
            // The payload's own port: its lines come out of qemu as they are written.
            .args(["-chardev", "stdio,id=payload,signal=off"])
            .args(["-serial", "chardev:payload"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        for (at, disk) in std::iter::once(&plan.payload).chain(plan.disks).enumerate() {
            // What one machine has flushed, another one reads: through the host's page cache.
            let (cache, share) = if plan.shared && at > 0 {
                ("cache=writeback,file.locking=off", ",share-rw=on")
            } else {
                ("cache=unsafe", "")
            };
            let log = at.checked_sub(1).and_then(|at| plan.logs.get(at));
            if let Some(log) = log {
                for (name, path) in [("image", *disk), ("log", log.as_path())] {
                    qemu.arg("-blockdev").arg(format!(
                        "driver=file,node-name={name}{at},cache.no-flush=on,filename={}",
                        path.display()
                    ));
                }
                qemu.arg("-blockdev").arg(format!(
                    "driver=blklogwrites,node-name=d{at},file=image{at},log=log{at}"
                ));
            } else {
                let options = format!("format=raw,if=none,id=d{at},{cache}");
                qemu.arg("-drive")
                    .arg(format!("file={},{options}", disk.display()));
            }
            qemu.arg("-device")
                .arg(format!("virtio-blk-pci,drive=d{at}{share}"));
        }
        let control = Control::new();
        qemu.args(control.arguments());
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
        let before = match plan.name {
            "" => "  ".to_owned(),
            name => format!("  {name}: "),
        };
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.starts_with(MARK) {
                    println!("{before}{line}");
                }
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Machine {
            child,
            control,
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
        match self.receive(patience) {
            Ok(line) => Ok(Some(line)),
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

    /// The next line of a machine that must not have ended; None when there is none in time.
    pub fn try_next_line(&mut self, patience: Duration) -> anyhow::Result<Option<String>> {
        match self.receive(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the machine has ended; the kernel said: {}", self.kernel())
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    fn receive(&mut self, patience: Duration) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(patience)?;
        self.first_line.get_or_insert(self.started.elapsed());
        Ok(line)
    }

    /// Sends a line to the payload's standard input.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// Takes the power away, at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Takes the power away; gives what the payload had said and nobody has heard yet.
    pub fn cut_off(&mut self) -> Vec<String> {
        self.kill();
        self.lines.iter().collect()
    }

    /// Stops its clocks and processors, or lets them run on.
    pub fn freeze(&self, on: bool) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id())?;
        let signal = if on { Signal::SIGSTOP } else { Signal::SIGCONT };
        Ok(kill(Pid::from_raw(id), signal)?)
    }

    /// Makes `/dev/vdb` slow.
    pub fn slow_disk(&self) -> anyhow::Result<()> {
        self.control.slow_down("d1")
    }

    /// Waits until it has ended by itself, however that is.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "the machine goes on; the kernel said: {}",
                self.kernel()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
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
    pub fn kernel(&self) -> String {
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
