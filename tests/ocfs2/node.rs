//! A node's files as Oracle VM and an administrator leave them: agent databases, a machine,
//! certificates, the configuration. The databases are made on the host, where libdb's tools are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::machines::{self, Machine};
use coriolis_ovm_exporter::operations::demo::{agent_databases, certificates};
use coriolis_ovm_exporter::ovm::agent::AgentRepository;

pub const REPOSITORY: &str = "0004fb0000030000000000000000000f";
pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse";
/// Configuration, certificates, index and log of the daemon.
pub const FOLDER: &str = "/etc/coriolis-ovm-exporter";
/// Where the payload has the agent's databases.
pub const DATABASES: &str = "agent-db";
const AGENT: &str = "/etc/ovs-agent/db";

/// Where OVM mounts the repository.
pub fn repository() -> PathBuf {
    Path::new("/OVS/Repositories").join(REPOSITORY)
}

/// Writes the agent's databases into a payload. Needs libdb's tools.
pub fn write_databases(payload: &Path) -> anyhow::Result<()> {
    let repository = AgentRepository {
        id: REPOSITORY.to_owned(),
        alias: Some("floor".to_owned()),
        mount_point: Some(repository()),
        filesystem: Some("ocfs2".to_owned()),
        ..AgentRepository::default()
    };
    let settings = [("manager_ip", "127.0.0.1"), ("pool_alias", "pool")];
    Ok(agent_databases::write(
        &payload.join(DATABASES),
        &[repository],
        &settings,
    )?)
}

/// Puts databases and certificates below `root`, and gives the authority of the certificates.
pub fn furnish(root: &Path) -> String {
    let agent = within(root, AGENT);
    fs::create_dir_all(&agent).unwrap();
    for item in fs::read_dir(DATABASES).unwrap() {
        let file = item.unwrap();
        fs::copy(file.path(), agent.join(file.file_name())).unwrap();
    }
    let folder = within(root, FOLDER);
    fs::create_dir_all(&folder).unwrap();
    certificates::write(&folder).unwrap()
}

/// Writes the configuration below `root`. `more` is for its top level.
pub fn configure(root: &Path, endpoint: &str, more: &str) {
    let text = format!(
        "db_file = \"{FOLDER}/exporter.db\"\n\
         agent_db_dir = \"{AGENT}\"\n\
         ovm_endpoint = \"{endpoint}\"\n\
         log_file = \"{FOLDER}/exporter.log\"\n\
         log_level = \"debug\"\n\
         {more}\n\
         [api]\n\
         bind = \"127.0.0.1\"\n\
         port = 0\n\
         [api.tls]\n\
         certificate = \"{FOLDER}/srv-pub.pem\"\n\
         key = \"{FOLDER}/srv-key.pem\"\n"
    );
    fs::write(within(root, FOLDER).join("config.toml"), text).unwrap();
}

/// A machine with a disk of `size` bytes and a small one, partly written, in the repository.
pub fn machine(size: u64, random: &mut Random) -> Machine {
    let machine = Machine::create(&repository(), 1, "a guest", &[size, 256 << 10]).unwrap();
    for disk in &machine.disks {
        let file = File::options().write(true).open(disk).unwrap();
        let size = file.metadata().unwrap().len();
        machines::scribble(&file, random, 0, size / 4).unwrap();
        machines::scribble(&file, random, size / 2, size / 8).unwrap();
    }
    machine
}

/// An absolute path, below another root.
pub fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
