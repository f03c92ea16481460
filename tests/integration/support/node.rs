//! A node for tests: repositories on real file systems, a manager, the real daemon.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coriolis_ovm_exporter::client::{Client, Trust};
use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use coriolis_ovm_exporter::operations::demo::ground::Ground;
use coriolis_ovm_exporter::operations::demo::machines::Machine;
use coriolis_ovm_exporter::operations::demo::manager::{Identity, StandInManager};
use coriolis_ovm_exporter::operations::demo::{agent_databases, certificates};
use coriolis_ovm_exporter::ovm::agent::AgentRepository;
use tempfile::TempDir;

pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse";

/// The file systems that the tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Xfs,
    Btrfs,
    /// `chattr +C` on its disks' folder: written in place.
    BtrfsNocow,
    /// Mounted with `compress-force=zstd`.
    BtrfsCompressed,
    /// Cannot clone.
    Ext4,
}

impl Kind {
    /// Every file system that can clone.
    pub const CLONING: [Kind; 4] = [
        Kind::Xfs,
        Kind::Btrfs,
        Kind::BtrfsNocow,
        Kind::BtrfsCompressed,
    ];

    /// A new one of `size` bytes, mounted through a loop device.
    pub fn make(self, size: u64) -> Ground {
        let ground = match self {
            Kind::Xfs => Ground::xfs(size),
            Kind::Btrfs | Kind::BtrfsNocow => {
                Ground::image("btrfs", &["mkfs.btrfs", "-q"], "", size)
            }
            Kind::BtrfsCompressed => {
                Ground::image("btrfs", &["mkfs.btrfs", "-q"], "compress-force=zstd", size)
            }
            Kind::Ext4 => Ground::image("ext4", &["mkfs.ext4", "-q", "-F"], "", size),
        };
        let ground = ground.expect("tests need root, loop devices, xfsprogs and btrfs-progs");
        let disks = ground.repository().join("VirtualDisks");
        fs::create_dir_all(&disks).unwrap();
        fs::write(
            ground.repository().join(".ovsrepo"),
            "OVS_REPO_ALIAS=test\n",
        )
        .unwrap();
        if self == Kind::BtrfsNocow {
            let status = std::process::Command::new("chattr")
                .arg("+C")
                .arg(&disks)
                .status();
            assert!(status.unwrap().success());
        }
        ground
    }
}

/// A repository of a test node.
#[derive(Debug)]
pub struct TestRepository {
    pub id: String,
    pub ground: Ground,
}

impl TestRepository {
    pub fn path(&self) -> PathBuf {
        self.ground.repository()
    }
}

/// A node. Everything is gone when it is dropped.
#[derive(Debug)]
pub struct TestNode {
    // The daemon lets go of the mounts first.
    daemon: Option<Daemon>,
    pub repositories: Vec<TestRepository>,
    pub manager: StandInManager,
    pub authority: String,
    folder: TempDir,
}

impl TestNode {
    /// A node with a repository of 2 GiB on each kind of file system, and no machines.
    pub async fn new(kinds: &[Kind]) -> TestNode {
        TestNode::with_config(kinds, "").await
    }

    /// The same, with more lines of configuration: top-level keys first, then tables that the
    /// node does not set itself (`[jwt]`, `[api.limits]`, `[api.login]`, `[snapshots]`).
    pub async fn with_config(kinds: &[Kind], more: &str) -> TestNode {
        let mut node = TestNode::prepare(kinds, more).await;
        node.start();
        node
    }

    /// A node whose daemon is not started yet.
    pub async fn prepare(kinds: &[Kind], more: &str) -> TestNode {
        let folder = tempfile::tempdir().unwrap();
        let repositories: Vec<TestRepository> = kinds
            .iter()
            .enumerate()
            .map(|(at, kind)| TestRepository {
                id: format!("0004fb0000030000{:016x}", at + 1),
                ground: kind.make(2 << 30),
            })
            .collect();
        let manager = StandInManager::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            USER,
            PASSWORD,
            repositories
                .iter()
                .map(|repository| repository.id.clone())
                .collect(),
            Identity::self_signed().unwrap(),
        )
        .await
        .unwrap();
        let authority = certificates::write(folder.path()).unwrap();
        let node = TestNode {
            daemon: None,
            repositories,
            manager,
            authority,
            folder,
        };
        node.write_databases(&[]);
        node.configure(more);
        node
    }

    /// Writes the agent's databases: the node's repositories, and `more` that are not there.
    pub fn write_databases(&self, more: &[AgentRepository]) {
        let mut all: Vec<AgentRepository> = self
            .repositories
            .iter()
            .map(|repository| AgentRepository {
                id: repository.id.clone(),
                alias: Some(format!("alias of {}", repository.id)),
                mount_point: Some(repository.path()),
                ..AgentRepository::default()
            })
            .collect();
        all.extend_from_slice(more);
        let settings = [("manager_ip", "127.0.0.1"), ("pool_alias", "pool")];
        agent_databases::write(&self.path("agent-db"), &all, &settings).unwrap();
    }

    /// Writes the configuration; see [`TestNode::with_config`].
    pub fn configure(&self, more: &str) {
        // Keys of the top level come before the first table, whichever is whose.
        let at = more
            .lines()
            .take_while(|line| !line.trim_start().starts_with('['))
            .map(|line| line.len() + 1)
            .sum::<usize>()
            .min(more.len());
        let (keys, tables) = more.split_at(at);
        let file = |name: &str| self.path(name).display().to_string();
        let toolstack = if keys.contains("toolstack") {
            String::new()
        } else {
            "toolstack = \"/bin/false\"\n".to_owned()
        };
        fs::write(
            self.path("config.toml"),
            format!(
                "db_file = {:?}\nagent_db_dir = {:?}\novm_endpoint = {:?}\nlog_file = {:?}\n\
                 log_level = \"debug\"\n{toolstack}{keys}\n\
                 [api]\nbind = \"127.0.0.1\"\nport = 0\n\
                 [api.tls]\ncertificate = {:?}\nkey = {:?}\n{tables}",
                file("exporter.db"),
                file("agent-db"),
                self.manager.endpoint(),
                file("exporter.log"),
                file("srv-pub.pem"),
                file("srv-key.pem"),
            ),
        )
        .unwrap();
    }

    /// Starts the daemon.
    pub fn start(&mut self) {
        self.start_with(&[]).unwrap();
    }

    /// Starts the daemon with variables in its environment.
    ///
    /// # Errors
    /// That it ended before it was ready, and how.
    pub fn start_with(&mut self, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let program = Path::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"));
        self.daemon = Some(Daemon::start_with(program, self.folder.path(), variables)?);
        Ok(())
    }

    /// Starts the daemon and kills it that much later, ready or not.
    pub fn start_and_kill(&mut self, later: Duration) {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"))
            .arg("-config")
            .arg(self.path("config.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(later);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Stops the daemon with SIGTERM and waits for it.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Kills the daemon.
    pub fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().unwrap();
        }
    }

    /// Hands the daemon over, to be ended in a way of one's own.
    pub fn take_daemon(&mut self) -> Daemon {
        self.daemon.take().unwrap()
    }

    pub fn daemon_id(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub fn address(&self) -> SocketAddr {
        self.daemon.as_ref().unwrap().address()
    }

    /// `https://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address())
    }

    /// A file in the node's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("exporter.log")).unwrap()
    }

    pub fn trust(&self) -> Trust {
        Trust::Authority(self.authority.clone().into_bytes())
    }

    /// Our own client, logged in.
    pub async fn client(&self) -> Client {
        Client::login(&self.endpoint(), USER, PASSWORD, &self.trust())
            .await
            .unwrap()
    }

    /// A plain HTTP client that believes the node's authority and does nothing by itself.
    pub fn http(&self) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(self.authority.as_bytes()).unwrap()])
            .build()
            .unwrap()
    }

    /// A machine whose vm.cfg and disks lie in one repository.
    pub fn machine(&self, repository: usize, number: u32, sizes: &[u64]) -> Machine {
        let root = self.repositories[repository].path();
        Machine::create(&root, number, &format!("machine {number}"), sizes).unwrap()
    }

    /// Writes a vm.cfg.
    pub fn vm_cfg(&self, repository: usize, vm: &str, text: &str) {
        let folder = self.repositories[repository]
            .path()
            .join("VirtualMachines")
            .join(vm);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("vm.cfg"), text).unwrap();
    }

    /// Everything below the snapshot folders of all repositories, as paths.
    pub fn snapshot_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for repository in &self.repositories {
            walk(&repository.path().join("CoriolisSnapshots"), &mut files);
        }
        files.sort();
        files
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(items) = fs::read_dir(folder) else {
        return;
    };
    for item in items.flatten() {
        files.push(item.path());
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&item.path(), files);
        }
    }
}
