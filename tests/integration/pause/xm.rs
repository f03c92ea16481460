//! A node with a stand-in `xm`: `xm.sh`, which says what it does and can be told to misbehave.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::node::{Kind, TestNode};
use crate::support::wait;

/// A node whose toolstack is the stand-in. Its repository lies on XFS.
pub struct Pausing {
    pub node: TestNode,
}

/// Something that the stand-in did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Since 1970.
    pub at: Duration,
    pub what: String,
    pub domain: String,
}

/// From one moment to another.
#[derive(Debug)]
pub struct Pause {
    pub domain: String,
    pub from: Duration,
    pub to: Option<Duration>,
}

impl Pause {
    /// How long it was.
    ///
    /// # Panics
    /// Where it has not ended.
    pub fn length(&self) -> Duration {
        let to = self.to.unwrap_or_else(|| panic!("never undone: {self:?}"));
        to.saturating_sub(self.from)
    }
}

impl Pausing {
    /// With these lines in `[snapshots]`. The daemon is not started yet.
    pub async fn prepare(snapshots: &str) -> Pausing {
        let node = TestNode::prepare(&[Kind::Xfs], "").await;
        let pausing = Pausing { node };
        for folder in ["domains", "behaviour"] {
            fs::create_dir_all(pausing.path(folder)).unwrap();
        }
        // A program of its own writes it: this process may fork while it would have it open.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/pause/xm.sh");
        let mut install = Command::new("install");
        install.args(["-m", "755", script]).arg(pausing.path("xm"));
        assert!(install.status().unwrap().success());
        pausing.configure(snapshots);
        pausing
    }

    pub async fn new(snapshots: &str) -> Pausing {
        let mut pausing = Pausing::prepare(snapshots).await;
        pausing.node.start();
        pausing
    }

    pub fn configure(&self, snapshots: &str) {
        let xm = self.path("xm");
        self.node
            .configure(&format!("toolstack = {xm:?}\n[snapshots]\n{snapshots}\n"));
    }

    /// A file of the stand-in's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.node.path("toolstack").join(name)
    }

    /// A machine with two disks that runs.
    pub fn machine(&self, number: u32) -> Machine {
        let machine = self.node.machine(0, number, &[1 << 20, 1 << 20]);
        self.set(&machine, "-b----");
        machine
    }

    pub fn set(&self, machine: &Machine, state: &str) {
        fs::write(self.path("domains").join(&machine.id), format!("{state}\n")).unwrap();
    }

    pub fn state(&self, machine: &Machine) -> String {
        let path = self.path("domains").join(&machine.id);
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub fn is_paused(&self, machine: &Machine) -> bool {
        self.state(machine) == "--p---"
    }

    /// How the next calls of `word` behave.
    pub fn behave(&self, word: &str, how: &[&str]) {
        let lines: String = how.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path("behaviour").join(word), lines).unwrap();
    }

    /// How long a pause call takes after it has paused.
    pub fn slow(&self, seconds: &str) {
        fs::write(self.path("slow"), seconds).unwrap();
    }

    /// All that happened.
    pub fn events(&self) -> Vec<Event> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let [at, what, domain] = words[..] else {
                    panic!("{line:?}");
                };
                Event {
                    at: Duration::from_nanos(at.parse().unwrap()),
                    what: what.to_owned(),
                    domain: domain.to_owned(),
                }
            })
            .collect()
    }

    /// What was asked of the stand-in for a machine.
    pub fn calls(&self, machine: &Machine) -> Vec<String> {
        self.events()
            .into_iter()
            .filter(|event| event.domain == machine.id && event.what.starts_with("call-"))
            .map(|event| event.what)
            .collect()
    }

    /// Every pause of any machine.
    pub fn pauses(&self) -> Vec<Pause> {
        let mut pauses: Vec<Pause> = Vec::new();
        for event in self.events() {
            let open = pauses
                .iter_mut()
                .find(|pause| pause.domain == event.domain && pause.to.is_none());
            match (event.what.as_str(), open) {
                ("paused", None) => pauses.push(Pause {
                    domain: event.domain,
                    from: event.at,
                    to: None,
                }),
                ("unpaused", Some(open)) => open.to = Some(event.at),
                _ => {}
            }
        }
        pauses
    }

    /// Every pause has ended, none later than this after its beginning.
    pub fn see_that_none_was_longer_than(&self, limit: Duration) {
        for pause in self.pauses() {
            let took = pause.length();
            assert!(took <= limit, "{took:?}: {pause:?}");
        }
    }

    /// What the folder of the pause records holds.
    pub fn records(&self) -> Vec<PathBuf> {
        let Ok(items) = fs::read_dir(self.node.path("pauses")) else {
            return Vec::new();
        };
        items.map(|item| item.unwrap().path()).collect()
    }

    pub async fn until_no_record_is_left(&self) {
        wait::until_nothing("no pause record is left", || self.records()).await;
    }

    /// Waits until a machine stands still.
    pub async fn until_paused(&self, machine: &Machine) {
        until(|| self.is_paused(machine)).await;
    }

    /// Waits until a machine goes on.
    pub async fn until_running(&self, machine: &Machine) {
        until(|| !self.is_paused(machine)).await;
    }
}

/// Waits for a moment that passes quickly.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it does not come"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The guards that a daemon has started and that are alive.
pub fn guards_of(daemon: u32) -> Vec<Pid> {
    let mut guards = Vec::new();
    for item in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = item.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let stat = fs::read_to_string(item.path().join("stat")).unwrap_or_default();
        // After the name in brackets: state, parent.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let mut words = after.split_whitespace();
        let (state, parent) = (words.next(), words.next());
        // A toolstack that the daemon itself asks is its child, too.
        let program = fs::read_link(item.path().join("exe")).unwrap_or_default();
        let is_ours = program.ends_with("coriolis-ovm-exporter");
        if is_ours && parent == Some(daemon.to_string().as_str()) && state != Some("Z") {
            guards.push(Pid::from_raw(id));
        }
    }
    guards
}

pub fn signal(process: Pid, signal: Signal) {
    // It may have ended by itself.
    let _ = kill(process, signal);
}
