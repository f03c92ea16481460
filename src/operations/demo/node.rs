//! A node that has everything but Oracle VM: repository, databases, manager, certificates, and
//! the real daemon.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::certificates;
use super::daemon::Daemon;
use super::ground::Ground;
use super::guest::Random;
use super::machines::{Machine, scribble};
use super::surroundings::Surroundings;
use crate::client::{Client, Trust};

/// Who may log in.
pub const USER: &str = "admin";
/// With what.
pub const PASSWORD: &str = "demo-password";
/// The id of its repository.
pub const REPOSITORY: &str = "0004fb00000300000de305e0000000aa";

/// The node. Dropping it stops the daemon and takes everything down.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the daemon lets go of the mount first.
    daemon: Daemon,
    machines: Vec<Machine>,
    authority: String,
    surroundings: Surroundings,
}

impl Node {
    /// Builds a node on `ground` and starts it: two machines with several disks each.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start(ground: Ground) -> anyhow::Result<Node> {
        let program = std::env::current_exe().context("where this program is")?;
        let machines = make_machines(&ground.repository())?;
        Node::with_machines(ground, machines, program).await
    }

    /// Builds a node around machines that lie on `ground`, and starts `program` as its daemon.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn with_machines(
        ground: Ground,
        machines: Vec<Machine>,
        program: PathBuf,
    ) -> anyhow::Result<Node> {
        let folder = ground.path().join("node");
        fs::create_dir(&folder)?;
        let surroundings = Surroundings::make(ground, &folder.join("agent-db"), 0).await?;
        let authority = certificates::write(&folder)?;
        fs::write(
            folder.join("config.toml"),
            configuration(&folder, &surroundings.manager()),
        )?;
        // The daemon answers nobody before it is ready, and the manager runs on this runtime.
        let daemon =
            tokio::task::spawn_blocking(move || Daemon::start(&program, &folder)).await??;
        Ok(Node {
            daemon,
            machines,
            authority,
            surroundings,
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
        self.surroundings.ground()
    }

    /// `https://host:port` of the daemon.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.daemon.address())
    }

    /// The daemon's process.
    #[must_use]
    pub fn daemon_id(&self) -> u32 {
        self.daemon.id()
    }

    /// A client that has logged in.
    ///
    /// # Errors
    /// The login's.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let trust = Trust::Authority(self.authority.clone().into_bytes());
        Ok(Client::login(&self.endpoint(), USER, PASSWORD, &trust).await?)
    }

    /// What to paste into a shell to try the API with curl, and to keep a replica with the command.
    #[must_use]
    pub fn lines_to_try(&self) -> String {
        let authority = self.ground().path().join("node/ca-pub.pem");
        let vm = self
            .machines
            .first()
            .map_or("VM", |machine| machine.id.as_str());
        format!(
            "The node stays up until Ctrl-C. Try, in another shell:\n\n\
             API={endpoint}/api/v1 CA={authority}\n\
             TOKEN=$(curl -s --cacert $CA -d '{{\"username\":\"{USER}\",\"password\":\"{PASSWORD}\"}}' $API/auth/login | sed 's/.*\"token\":\"\\([^\"]*\\).*/\\1/')\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" $API/node\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" $API/vms\n\
             curl -s --cacert $CA -H \"Authorization: Bearer $TOKEN\" -X POST $API/vms/{vm}/snapshots\n\
             export OVM_EXPORTER_ENDPOINT={endpoint} OVM_EXPORTER_CAFILE=$CA\n\
             export OVM_EXPORTER_USERNAME={USER} OVM_EXPORTER_PASSWORD={PASSWORD}\n\
             {command} vms list\n\
             {command} replicate {vm} --to replica --verify\n\
             {command} replicate {vm} --to replica --verify\n",
            endpoint = self.endpoint(),
            authority = authority.display(),
            command = command(),
        )
    }
}

/// The command's program, which is built beside the daemon's.
fn command() -> String {
    let beside = std::env::current_exe()
        .map(|own| own.with_file_name("ovm-exporter"))
        .ok()
        .filter(|path| path.is_file());
    beside.map_or_else(
        || "ovm-exporter".to_owned(),
        |path| path.display().to_string(),
    )
}

/// Two machines, with some data on their disks.
///
/// # Errors
/// The file system's.
pub(super) fn make_machines(repository: &Path) -> anyhow::Result<Vec<Machine>> {
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
