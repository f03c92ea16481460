//! The real daemon as a child process, with a configuration of its own.
//!
//! [`Site`] is a folder with all that a daemon needs; [`Daemon`] runs there, and tells what it
//! tells systemd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::operations::demo::certificates;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_coriolis-ovm-exporter");

/// Nothing in these tests takes longer unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often to look whether a condition holds.
const GLANCE: Duration = Duration::from_millis(5);

/// A temporary folder with certificates (`ca-pub.pem`, `srv-pub.pem`, `srv-key.pem`), an empty
/// folder of agent databases, and settings that keep the daemon inside of it, on a free port of
/// 127.0.0.1, with its log in `exporter.log`.
pub struct Site {
    folder: tempfile::TempDir,
    settings: BTreeMap<String, String>,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("exporter-site-")
            .tempdir()
            .unwrap();
        certificates::write(folder.path()).unwrap();
        fs::create_dir(folder.path().join("agent")).unwrap();
        let mut site = Self {
            folder,
            settings: BTreeMap::new(),
        };
        for (key, file) in [
            ("agent_db_dir", "agent"),
            ("api.tls.certificate", "srv-pub.pem"),
            ("api.tls.key", "srv-key.pem"),
            ("db_file", "exporter.db"),
            ("log_file", "exporter.log"),
        ] {
            let path = site.path(file);
            site.set(key, format!("{path:?}"));
        }
        site.set("api.bind", "\"127.0.0.1\"");
        site.set("api.port", "0");
        site
    }

    /// Sets a key, with its sections in front, to a TOML value: `api.port` to `0`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.insert(key.to_owned(), value.into());
    }

    /// Goes back to the default of a key.
    pub fn unset(&mut self, key: &str) {
        self.settings.remove(key);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the daemon has logged; empty where there is no log yet.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("exporter.log")).unwrap_or_default()
    }

    /// What the daemon has said on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// Writes `config.toml`; a test may change it afterwards.
    pub fn write_config(&self) -> PathBuf {
        let file = self.path("config.toml");
        let lines: Vec<String> = self
            .settings
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        fs::write(&file, lines.concat()).unwrap();
        file
    }

    /// Runs the daemon where it is expected to end by itself.
    pub fn run_to_its_end(&self) -> Output {
        let config = self.write_config();
        run(&["-config".as_ref(), config.as_os_str()])
    }
}

/// Runs the program with these arguments to its end.
pub fn run(arguments: &[&std::ffi::OsStr]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = holds_in_time(|| child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "still running with {arguments:?}: {output:?}");
    output
}

/// A running daemon. Dropping it kills it, then removes its folder.
pub struct Daemon {
    child: Child,
    /// Where it serves.
    pub address: SocketAddr,
    /// What it tells the service manager.
    pub notify: NotifySocket,
    /// Where it runs.
    pub site: Site,
}

impl Daemon {
    /// Starts a daemon with the settings of the site and waits until it says that it is ready.
    pub fn start(site: Site) -> Self {
        Self::begin(site, &[], |_| {})
    }

    /// The same, with variables in its environment.
    pub fn start_with(site: Site, variables: &[(&str, &str)]) -> Self {
        Self::begin(site, variables, |_| {})
    }

    /// The same, with something that is done to the process while it starts.
    pub fn start_meddled(site: Site, meddle: impl FnOnce(Pid)) -> Self {
        Self::begin(site, &[], meddle)
    }

    fn begin(site: Site, variables: &[(&str, &str)], meddle: impl FnOnce(Pid)) -> Self {
        let config = site.write_config();
        let mut notify = NotifySocket::bind(&site.path("notify"));
        let mut child = Command::new(PROGRAM)
            .arg("-config")
            .arg(config)
            .env("NOTIFY_SOCKET", &notify.path)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(site.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        meddle(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let ready = holds_in_time(|| notify.has("READY=1") || child.try_wait().unwrap().is_some());
        let address = notify
            .value("STATUS=serving on ")
            .and_then(|address| address.parse().ok());
        let (true, Some(address)) = (ready && notify.has("READY=1"), address) else {
            let _ = child.kill();
            let status = child.wait().unwrap();
            panic!(
                "not ready; {status}; told {:?}; said {:?}; log:\n{}",
                notify.lines,
                site.stderr(),
                site.log()
            );
        };
        Self {
            child,
            address,
            notify,
            site,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = holds_in_time(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "still running; its log:\n{}", self.site.log());
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service manager's end of the notification protocol, sd_notify(3).
pub struct NotifySocket {
    path: PathBuf,
    socket: UnixDatagram,
    lines: Vec<String>,
}

impl NotifySocket {
    fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            path: path.to_owned(),
            socket,
            lines: Vec::new(),
        }
    }

    /// Everything that was told up to now, in order.
    pub fn lines(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(length) => {
                    let text = std::str::from_utf8(&datagram[..length]).unwrap();
                    self.lines.extend(text.lines().map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return &self.lines,
                Err(error) => panic!("the notification socket: {error}"),
            }
        }
    }

    /// Whether this line was told.
    pub fn has(&mut self, line: &str) -> bool {
        self.lines().iter().any(|told| told == line)
    }

    /// What follows this beginning in the latest line that has it.
    pub fn value(&mut self, beginning: &str) -> Option<String> {
        let mut lines = self.lines().iter().rev();
        lines.find_map(|line| line.strip_prefix(beginning).map(str::to_owned))
    }
}

/// Whether a condition comes true within the deadline.
pub fn holds_in_time(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() > DEADLINE {
            return false;
        }
        std::thread::sleep(GLANCE);
    }
}
