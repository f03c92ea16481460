//! The real daemon as a child process.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the daemon may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether it has ended.
const GLANCE: Duration = Duration::from_millis(200);

/// The daemon. Dropping it ends it with SIGTERM, and with SIGKILL where that takes too long.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    /// Starts `program` with `config.toml` in `folder` and waits until it says that it is ready,
    /// the way systemd does.
    ///
    /// # Errors
    /// That it ended or did not get ready, with its log.
    pub fn start(program: &Path, folder: &Path) -> anyhow::Result<Daemon> {
        Daemon::start_with(program, folder, &[])
    }

    /// The same, with variables in its environment.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(
        program: &Path,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Daemon> {
        let socket_path = folder.join("notify");
        match fs::remove_file(&socket_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let socket = UnixDatagram::bind(&socket_path)?;
        socket.set_read_timeout(Some(GLANCE))?;
        let child = Command::new(program)
            .arg("-config")
            .arg(folder.join("config.toml"))
            .env("NOTIFY_SOCKET", &socket_path)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the daemon")?;
        let mut daemon = Daemon {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let mut message = [0; 1024];
        let begun = Instant::now();
        loop {
            let received = socket.recv(&mut message);
            if received.is_err()
                && let Some(status) = daemon.child.try_wait()?
            {
                let what = format!("the daemon ended at its start ({status})");
                bail!(said(folder, &what));
            }
            let length = match received {
                Ok(length) => length,
                Err(_) if begun.elapsed() > PATIENCE => {
                    bail!(said(folder, "the daemon did not get ready"));
                }
                // Whoever asked was interrupted, and has taken the ground away.
                Err(_) if is_gone(&socket_path) => {
                    bail!("{} went away at the start", folder.display());
                }
                Err(_) => continue,
            };
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if let Some(address) = text
                .lines()
                .find_map(|line| line.strip_prefix("STATUS=serving on "))
            {
                daemon.address = address.parse().context("the daemon's address")?;
            }
            if text.lines().any(|line| line == "READY=1") {
                break;
            }
        }
        if daemon.address.port() == 0 {
            bail!(said(folder, "the daemon did not say where it serves"));
        }
        Ok(daemon)
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it: no handler of its own runs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Tells it to end, with SIGTERM.
    ///
    /// # Errors
    /// The kernel's.
    pub fn terminate(&self) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(id), Signal::SIGTERM)?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when that takes too long; the kernel's.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn said(folder: &Path, what: &str) -> String {
    let log = fs::read_to_string(folder.join("exporter.log")).unwrap_or_default();
    format!("{what}; its log:\n{log}")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has been waited for is no longer there to be told.
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let _ = self.terminate();
        if self.wait().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
