//! Another node of the pool: a second daemon, with an index of its own, on the same repositories.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use coriolis_ovm_exporter::client::Client;
use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
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
        let folder = tempfile::tempdir().unwrap();
        let config = fs::read_to_string(node.path("config.toml")).unwrap();
        // Its own index, log and secret; the rest is shared.
        let own = |config: String, name: &str| {
            let path = |path: &Path| path.display().to_string();
            config.replace(&path(&node.path(name)), &path(&folder.path().join(name)))
        };
        let config = own(own(config, "exporter.db"), "exporter.log");
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
