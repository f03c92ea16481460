//! All of a node but its daemon: the repository, the agent's databases, the manager.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::agent_databases;
use super::ground::Ground;
use super::machines::Machine;
use super::manager::{Identity, StandInManager};
use super::node::{PASSWORD, REPOSITORY, USER};
use crate::ovm::agent::AgentRepository;

/// What a daemon finds around itself. Dropping it takes the manager and the ground away.
#[derive(Debug)]
pub struct Surroundings {
    // Dropped in this order.
    manager: StandInManager,
    ground: Ground,
}

impl Surroundings {
    /// Marks the ground as a repository, starts a manager on this port of the loopback (0: any), and
    /// writes the agent's databases, which name both.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn make(
        ground: Ground,
        databases: &Path,
        manager_port: u16,
    ) -> anyhow::Result<Surroundings> {
        fs::write(
            ground.repository().join(".ovsrepo"),
            format!("OVS_REPO_UUID={REPOSITORY}\nOVS_REPO_ALIAS=demo\n"),
        )?;
        let manager = StandInManager::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, manager_port)),
            USER,
            PASSWORD,
            vec![REPOSITORY.to_owned()],
            Identity::self_signed()?,
        )
        .await?;
        agent_databases::write(
            databases,
            &[AgentRepository {
                id: REPOSITORY.to_owned(),
                alias: Some("demo".to_owned()),
                mount_point: Some(ground.repository()),
                ..AgentRepository::default()
            }],
            &[("manager_ip", "127.0.0.1"), ("pool_alias", "demo-pool")],
        )?;
        Ok(Surroundings { manager, ground })
    }

    /// What it stands on.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// `https://host:port` of the manager.
    #[must_use]
    pub fn manager(&self) -> String {
        self.manager.endpoint()
    }
}

/// What whoever starts a daemon there has to know.
pub(super) struct Told<'a>(pub(super) &'a Surroundings, pub(super) &'a [Machine]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(around, machines) = self;
        writeln!(f, "repository {}", around.ground.repository().display())?;
        writeln!(f, "manager {} {USER} {PASSWORD}", around.manager())?;
        for machine in *machines {
            writeln!(f, "machine {}", machine.id)?;
        }
        Ok(())
    }
}
