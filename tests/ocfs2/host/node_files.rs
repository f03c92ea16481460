//! What a node has on its own disk: what OVM's agent wrote there, certificates, and the daemon's
//! configuration. Made on the host, with the host's libdb; every path is one in the machine.

use std::fs;
use std::path::Path;

use coriolis_ovm_exporter::operations::demo::{agent_databases, certificates};
use coriolis_ovm_exporter::ovm::agent::AgentRepository;

use crate::brief::{self, DAEMON_PORT, MANAGER_PORT, NODE, PAYLOAD};

/// Writes them into a folder, and gives the authority of the node's certificate. `more` is
/// configuration: tables that are not set here.
pub fn write(folder: &Path, repositories: usize, more: &str) -> anyhow::Result<String> {
    fs::create_dir_all(folder)?;
    let repositories: Vec<AgentRepository> = (0..repositories)
        .map(|at| AgentRepository {
            id: brief::repository_id(at),
            alias: Some(format!("repository {at}")),
            mount_point: Some(brief::mount_point(at)),
            ..AgentRepository::default()
        })
        .collect();
    agent_databases::write(
        &folder.join("agent-db"),
        &repositories,
        &[("manager_ip", "127.0.0.1"), ("pool_alias", "pool")],
    )?;
    let authority = certificates::write(folder)?;
    fs::write(folder.join("config.toml"), configuration(more))?;
    Ok(authority)
}

/// The index lies on a tmpfs, which is the node's own and gone when its power is taken.
fn configuration(more: &str) -> String {
    let inside = format!("{PAYLOAD}/{NODE}");
    format!(
        "db_file = \"/tmp/exporter.db\"\n\
         agent_db_dir = \"{inside}/agent-db\"\n\
         ovm_endpoint = \"https://127.0.0.1:{MANAGER_PORT}\"\n\
         log_file = \"{inside}/exporter.log\"\n\
         [api]\n\
         bind = \"0.0.0.0\"\n\
         port = {DAEMON_PORT}\n\
         [api.tls]\n\
         certificate = \"{inside}/srv-pub.pem\"\n\
         key = \"{inside}/srv-key.pem\"\n\
         {more}"
    )
}
