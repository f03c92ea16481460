//! Another node of the pool: a second daemon, with an index of its own, on the same repositories.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo::agent_databases;
use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use coriolis_ovm_exporter::ovm::agent::AgentRepository;
use tempfile::TempDir;

use super::node::{PASSWORD, TestNode, USER};

/// A node that sees what another one sees.
#[derive(Debug)]
pub struct Neighbour {
    daemon: Daemon,
    _folder: TempDir,
}

impl Neighbour {
    pub fn of(node: &TestNode) -> Neighbour {
        Neighbour::start(node, tempfile::tempdir().unwrap())
    }

    /// One that has just started: its repositories are not mounted yet.
    pub fn without_repositories(node: &TestNode) -> Neighbour {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let repositories: Vec<AgentRepository> = node
            .repositories
            .iter()
            .map(|repository| AgentRepository {
                id: repository.id.clone(),
                mount_point: Some(empty.join(&repository.id)),
                ..AgentRepository::default()
            })
            .collect();
        let agent = folder.path().join("agent-db");
        agent_databases::write(&agent, &repositories, &[("manager_ip", "127.0.0.1")]).unwrap();
        Neighbour::start(node, folder)
    }

    fn start(node: &TestNode, folder: TempDir) -> Neighbour {
        let config = fs::read_to_string(node.path("config.toml")).unwrap();
        // Its own index, log and secret; the rest is shared.
        let own = |config: String, name: &str| {
            let path = |path: &Path| path.display().to_string();
            config.replace(&path(&node.path(name)), &path(&folder.path().join(name)))
        };
        let mut config = own(own(config, "exporter.db"), "exporter.log");
        if folder.path().join("agent-db").exists() {
            config = own(config, "agent-db");
        }
        fs::write(folder.path().join("config.toml"), config).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_coriolis-ovm-exporter"));
        Neighbour {
            daemon: Daemon::start(program, folder.path()).unwrap(),
            _folder: folder,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    pub async fn client(&self, node: &TestNode) -> Client {
        let endpoint = format!("https://{}", self.address());
        Client::login(&endpoint, USER, PASSWORD, &node.trust())
            .await
            .unwrap()
    }
}
