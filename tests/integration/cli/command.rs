//! The program as a child process, and a node for it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coriolis_ovm_exporter::operations::demo::machines::Machine;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::super::support::node::{Kind, PASSWORD, TestNode, USER};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ovm-exporter");

/// What a run has printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Of every run: nobody has found the password in what it printed.
    pub fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ran.stdout.contains(PASSWORD), "{ran:?}");
        assert!(!ran.stderr.contains(PASSWORD), "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        ran
    }

    /// What a run that succeeded has printed.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The one line that a run that failed has said.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(lines[0].starts_with("ovm-exporter: "), "{self:?}");
        lines[0].to_owned()
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }
}

/// The program with nothing of the surroundings' in its environment.
pub fn bare() -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().stdin(Stdio::null());
    command
}

/// A node with a machine of two disks, and what the command needs to reach it.
pub struct Desk {
    pub node: TestNode,
    pub machine: Machine,
    random: SmallRng,
}

pub const SIZES: [u64; 2] = [24 << 20, (5 << 20) + 512];

impl Desk {
    pub async fn set() -> Desk {
        Desk::with_config("").await
    }

    /// With more in the daemon's configuration.
    pub async fn with_config(more: &str) -> Desk {
        let seed = 0x0011_2233;
        println!("seed {seed}");
        let node = TestNode::with_config(&[Kind::Xfs], more).await;
        let machine = node.machine(0, 1, &SIZES);
        let mut desk = Desk {
            node,
            machine,
            random: SmallRng::seed_from_u64(seed),
        };
        desk.scribble();
        desk
    }

    /// The command with the node in its environment.
    pub fn command(&self) -> Command {
        self.command_at(&self.node.endpoint())
    }

    pub fn command_at(&self, endpoint: &str) -> Command {
        let mut command = bare();
        command
            .env("OVM_EXPORTER_ENDPOINT", endpoint)
            .env("OVM_EXPORTER_USERNAME", USER)
            .env("OVM_EXPORTER_PASSWORD", PASSWORD)
            .env("OVM_EXPORTER_CAFILE", self.node.path("ca-pub.pem"));
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        Ran::of(self.command().args(arguments).output().unwrap())
    }

    /// Writes here and there on every disk, and punches holes.
    pub fn scribble(&mut self) {
        for path in &self.machine.disks {
            let file = File::options().write(true).open(path).unwrap();
            let blocks = file.metadata().unwrap().len() / 4096;
            for _ in 0..20 {
                let at = self.random.random_range(0..blocks - 8) * 4096;
                let mut bytes = vec![0; 4096 * self.random.random_range(1..8)];
                self.random.fill_bytes(&mut bytes);
                file.write_all_at(&bytes, at).unwrap();
            }
            for _ in 0..5 {
                let at = self.random.random_range(0..blocks - 16) * 4096;
                let length = 4096 * self.random.random_range(1..16);
                punch(path, at, length);
            }
        }
    }

    /// Takes a snapshot, and gives its id.
    pub fn snapshot(&self) -> String {
        let id = ["-f", "value", "-c", "Snapshot ID"];
        let create = ["snapshot", "create", &self.machine.id];
        let printed = self.run(&[&create[..], &id].concat()).done();
        printed.trim().to_owned()
    }

    /// Names of the disks.
    pub fn disk_names(&self) -> Vec<String> {
        let disks = self.machine.disks.iter();
        disks
            .map(|disk| disk.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    /// The bytes of a snapshot's disks, by their names.
    pub fn truth(&self, snapshot: &str) -> Vec<(String, Vec<u8>)> {
        let folder = self.node.repositories[0]
            .path()
            .join("CoriolisSnapshots")
            .join(snapshot);
        let mut disks = Vec::new();
        for name in self.disk_names() {
            // It may have been taken of some disks only.
            if let Ok(bytes) = std::fs::read(folder.join(&name)) {
                disks.push((name, bytes));
            }
        }
        assert!(!disks.is_empty(), "{}", folder.display());
        disks
    }
}

/// A hole, as a guest's TRIM leaves it.
fn punch(path: &Path, at: u64, length: u64) {
    let status = Command::new("fallocate")
        .args(["--punch-hole", "--offset", &at.to_string()])
        .args(["--length", &length.to_string()])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}
