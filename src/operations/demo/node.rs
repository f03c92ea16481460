//! A node that has everything but Oracle VM: repository, databases, manager, certificates, and
//! the real daemon.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::agent_databases;
use super::ground::Ground;
use super::guest::Random;
use super::machines::{Machine, scribble};
use super::manager::{Identity, StandInManager};
use crate::client::{Client, Trust};
use crate::ovm::agent::AgentRepository;

/// Who may log in.
pub const USER: &str = "admin";
/// With what.
pub const PASSWORD: &str = "demo-password";
const REPOSITORY: &str = "0004fb00000300000de305e0000000aa";
/// How long the daemon may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The node. Dropping it stops the daemon and takes everything down.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the daemon lets go of the mount first.
    daemon: Daemon,
    machines: Vec<Machine>,
    authority: String,
    _manager: StandInManager,
    ground: Ground,
}

impl Node {
    /// Builds a node on `ground` and starts it: two machines with several disks each.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start(ground: Ground) -> anyhow::Result<Node> {
        let machines = make_machines(&ground.repository())?;
        let manager = StandInManager::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            USER,
            PASSWORD,
            vec![REPOSITORY.to_owned()],
            Identity::self_signed()?,
        )
        .await?;
        let folder = ground.path().join("node");
        fs::create_dir(&folder)?;
        agent_databases::write(
            &folder.join("agent-db"),
            &[AgentRepository {
                id: REPOSITORY.to_owned(),
                alias: Some("demo".to_owned()),
                mount_point: Some(ground.repository()),
                ..AgentRepository::default()
            }],
            &[("manager_ip", "127.0.0.1"), ("pool_alias", "demo-pool")],
        )?;
        let authority = write_certificates(&folder)?;
        fs::write(
            folder.join("config.toml"),
            configuration(&folder, &manager.endpoint()),
        )?;
        // The daemon answers nobody before it is ready, and the manager runs on this runtime.
        let daemon = tokio::task::spawn_blocking(move || Daemon::start(&folder)).await??;
        Ok(Node {
            daemon,
            machines,
            authority,
            _manager: manager,
            ground,
        })
    }

    /// The machines.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// What it stands on.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// `https://host:port` of the daemon.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.daemon.address)
    }

    /// A client that has logged in.
    ///
    /// # Errors
    /// The login's.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let trust = Trust::Authority(self.authority.clone().into_bytes());
        Ok(Client::login(&self.endpoint(), USER, PASSWORD, &trust).await?)
    }

    /// What to paste into a shell to try the API.
    #[must_use]
    pub fn curl_lines(&self) -> String {
        let authority = self.ground.path().join("node/ca-pub.pem");
        let vm = self
            .machines
            .first()
            .map_or("VM", |machine| machine.id.as_str());
        format!(
            "The node stays up until Ctrl-C. Try, in another shell:\n\
             API={endpoint}/api/v1 CA={authority}\n\
             TOKEN=$(curl -s --cacert $CA -d '{{\"username\":\"{USER}\",\"password\":\"{PASSWORD}\"}}' $API/auth/login | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" $API/node\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" $API/vms\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" -X POST $API/vms/{vm}/snapshots\n",
            endpoint = self.endpoint(),
            authority = authority.display(),
        )
    }
}

fn make_machines(repository: &Path) -> anyhow::Result<Vec<Machine>> {
    fs::write(
        repository.join(".ovsrepo"),
        format!("OVS_REPO_UUID={REPOSITORY}\nOVS_REPO_ALIAS=demo\n"),
    )?;
    let machines = vec![
        Machine::create(repository, 1, "web server", &[256 << 20, 64 << 20])?,
        Machine::create(
            repository,
            2,
            "database = main",
            &[128 << 20, 128 << 20, 32 << 20],
        )?,
    ];
    let mut random = Random::new(1);
    for disk in machines.iter().flat_map(|machine| &machine.disks) {
        let file = File::options().write(true).open(disk)?;
        let size = file.metadata()?.len();
        // An operating system at the start, some data further on, holes between.
        scribble(&file, &mut random, 0, size / 8)?;
        scribble(&file, &mut random, size / 2, size / 8)?;
    }
    Ok(machines)
}

fn configuration(folder: &Path, manager: &str) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "db_file = {db:?}\n\
         agent_db_dir = {agent:?}\n\
         ovm_endpoint = {manager:?}\n\
         log_file = {log:?}\n\
         [api]\n\
         bind = \"127.0.0.1\"\n\
         port = 0\n\
         [api.tls]\n\
         certificate = {certificate:?}\n\
         key = {key:?}\n\
         [snapshots]\n\
         min_free = \"64MiB\"\n",
        db = at("exporter.db"),
        agent = at("agent-db"),
        log = at("exporter.log"),
        certificate = at("srv-pub.pem"),
        key = at("srv-key.pem"),
    )
}

/// An authority and a server certificate for this machine; returns the authority.
fn write_certificates(folder: &Path) -> anyhow::Result<String> {
    let authority_key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "coriolis-ovm-exporter demo");
    let authority = parameters.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let server_key = rcgen::KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = rcgen::CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
    fs::write(folder.join("ca-pub.pem"), authority.pem())?;
    fs::write(folder.join("srv-pub.pem"), server.pem())?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("srv-key.pem"))?
        .write_all(server_key.serialize_pem().as_bytes())?;
    Ok(authority.pem())
}

/// The real daemon as a child process.
#[derive(Debug)]
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    /// Starts this very program with the configuration in `folder` and waits until it says that
    /// it is ready, the way systemd does.
    fn start(folder: &Path) -> anyhow::Result<Daemon> {
        let socket_path = folder.join("notify");
        let socket = UnixDatagram::bind(&socket_path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let program: PathBuf = std::env::current_exe().context("where this program is")?;
        let child = Command::new(program)
            .arg("-config")
            .arg(folder.join("config.toml"))
            .env("NOTIFY_SOCKET", &socket_path)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the daemon")?;
        let mut daemon = Daemon {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let mut message = [0; 1024];
        loop {
            let length = socket
                .recv(&mut message)
                .with_context(|| said(folder, "the daemon did not start"))?;
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
}

fn said(folder: &Path, what: &str) -> String {
    let log = fs::read_to_string(folder.join("exporter.log")).unwrap_or_default();
    format!("{what}; its log:\n{log}")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
