//! Processes that are started here, what they cost, and their end.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::memory;

/// How often to look at a running process.
const GLANCE: Duration = Duration::from_millis(10);

/// A process that has ended well.
#[derive(Debug)]
pub struct Finished {
    /// From its start to its end.
    pub seconds: f64,
    /// CPU time of all its threads, seconds.
    pub cpu: f64,
    /// Its largest resident memory, as of some milliseconds before its end; bytes.
    pub memory: u64,
    /// What it wrote to standard output.
    pub output: String,
}

/// Runs a command to its end. What it wrote to standard error is told where it fails.
pub fn finish(command: &mut Command) -> anyhow::Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let process = pid(child.id())?;
    let errors = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut errors) = errors {
            let _ = errors.read_to_string(&mut text);
        }
        text
    });
    // What `wait4` tells of memory has the parent's in it, from between fork and exec.
    let memory = std::thread::spawn(move || {
        let mut largest = 0;
        while let Ok(peak) = memory::peak(process) {
            largest = peak;
            std::thread::sleep(GLANCE);
        }
        largest
    });
    let mut output = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut output)?;
    }
    // It has ended, and its clock can still be read.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(process), flags)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu(process)?;
    let memory = memory.join().unwrap_or(0);
    let status = child.wait()?;
    let errors = errors.join().unwrap_or_default();
    if !status.success() {
        bail!("{name} failed ({status}): {}", errors.trim());
    }
    Ok(Finished {
        seconds,
        cpu,
        memory,
        output,
    })
}

/// CPU time that a process has used, all threads together, seconds.
pub fn cpu(process: Pid) -> anyhow::Result<f64> {
    let time = clock_gettime(clock_getcpuclockid(process)?)?;
    Ok(Duration::from(time).as_secs_f64())
}

/// A process' id as the kernel's calls want it.
pub fn pid(id: u32) -> anyhow::Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(id)?))
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts it, and waits until it accepts connections on this port of 127.0.0.1.
    pub fn start(command: &mut Command, port: u16) -> anyhow::Result<Server> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let mut server = Server { child };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended at its start ({status})");
            }
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("{name} does not listen on port {port}");
            }
            std::thread::sleep(GLANCE);
        }
        Ok(server)
    }

    pub fn process(&self) -> anyhow::Result<Pid> {
        pid(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
