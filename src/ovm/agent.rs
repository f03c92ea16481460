//! What the node's agent (ovs-agent) knows: its repositories, its manager, its server pool.
//!
//! The agent keeps one Berkeley DB hash file per table, each value a Python 2 pickle. They are
//! read afresh on every call and never written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::berkeley_db::{self, BerkeleyDbError};
use super::pickle::{self, Value};

/// Table of repositories, by id.
const REPOSITORY: &str = "repository";
/// Table of the server's settings, by name.
const SERVER: &str = "server";

/// A table's pickles by key.
type Table = BTreeMap<String, Vec<u8>>;

/// Why a table could not be read at all.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The table of repositories.
    #[error("cannot read the agent's list of repositories: {0}")]
    Repositories(#[source] BerkeleyDbError),
    /// The table of server settings.
    #[error("cannot read the agent's server settings: {0}")]
    Server(#[source] BerkeleyDbError),
}

/// The folder of the agent's databases, `/etc/ovs-agent/db` on a node.
#[derive(Debug, Clone)]
pub struct AgentDatabases {
    dir: PathBuf,
}

/// A repository as the agent registered it. It need not be mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentRepository {
    /// 32 hex digits.
    pub id: String,
    /// The name that the admin gave it.
    pub alias: Option<String>,
    /// Where it is mounted, normally `/OVS/Repositories/<id>`.
    pub mount_point: Option<PathBuf>,
    /// The manager that owns it.
    pub manager_uuid: Option<String>,
    /// Version of the repository's layout.
    pub version: Option<String>,
    /// `ocfs2`, `nfs`, …
    pub filesystem: Option<String>,
    /// The device, or `host:/export`.
    pub fs_location: Option<String>,
}

/// The server's settings that matter here. An empty value counts as none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Address of the manager.
    pub manager_ip: Option<String>,
    /// The manager that owns this server.
    pub manager_uuid: Option<String>,
    /// Address under which this server is known to the manager.
    pub registered_ip: Option<String>,
    /// Name of the server pool.
    pub pool_alias: Option<String>,
    /// State of the cluster.
    pub cluster_state: Option<String>,
    /// Whether this server is the pool's master, as the agent spells it (`true`, `1`, …).
    pub is_master: Option<String>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl AgentDatabases {
    /// The databases in `dir`. Nothing is opened yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every repository that can be read, ordered by id, and a warning for what cannot. Blocks.
    ///
    /// # Errors
    /// When the table as a whole cannot be read; the message names the file.
    pub fn repositories(&self) -> Result<(Vec<AgentRepository>, Vec<String>), AgentError> {
        let (records, mut warnings) = self.table(REPOSITORY).map_err(AgentError::Repositories)?;
        let mut repositories = Vec::with_capacity(records.len());
        for (id, pickle) in records {
            match Value::decode(&pickle) {
                Ok(value @ Value::Dict(_)) => {
                    repositories.push(repository(id, &value, &mut warnings));
                }
                Ok(value) => warnings.push(format!(
                    "repository {id:?} in the agent's database: expected a dict, found {}",
                    value.type_name()
                )),
                Err(error) => {
                    warnings.push(format!(
                        "repository {id:?} in the agent's database: {error}"
                    ));
                }
            }
        }
        Ok((repositories, warnings))
    }

    /// The server's settings; what is missing or cannot be read is `None`. Blocks.
    ///
    /// # Errors
    /// When the table as a whole cannot be read; the message names the file.
    pub fn server_settings(&self) -> Result<ServerSettings, AgentError> {
        let (records, mut warnings) = self.table(SERVER).map_err(AgentError::Server)?;
        let mut setting = |name: &str| {
            let value = match Value::decode(records.get(name)?) {
                Ok(value) => value,
                Err(error) => {
                    warnings.push(format!("setting {name} in the agent's database: {error}"));
                    return None;
                }
            };
            single(&value).unwrap_or_else(|found| {
                warnings.push(format!(
                    "setting {name} in the agent's database: expected a single value, found {found}"
                ));
                None
            })
        };
        Ok(ServerSettings {
            manager_ip: setting("manager_ip"),
            manager_uuid: setting("manager_uuid"),
            registered_ip: setting("registered_ip"),
            pool_alias: setting("pool_alias"),
            cluster_state: setting("cluster_state"),
            is_master: setting("is_master"),
            warnings,
        })
    }

    /// A table's records by key, and a warning for each damaged place.
    fn table(&self, name: &str) -> Result<(Table, Vec<String>), BerkeleyDbError> {
        let path = self.dir.join(name);
        let file = berkeley_db::read(&path)?;
        let mut warnings: Vec<String> = file
            .damage
            .iter()
            .map(|damage| format!("{} is damaged: {damage}", path.display()))
            .collect();
        let mut records = Table::new();
        for (key, value) in file.records {
            // The agent's tables have one value per key. Two are the trace of a broken rewrite.
            match records.entry(pickle::text(key)) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    warnings.push(format!(
                        "{}: {:?} is there twice",
                        path.display(),
                        place.key()
                    ));
                }
            }
        }
        Ok((records, warnings))
    }
}

fn repository(id: String, record: &Value, warnings: &mut Vec<String>) -> AgentRepository {
    let mut field = |name: &str| {
        single(record.get(name)?).unwrap_or_else(|found| {
            warnings.push(format!(
                "repository {id:?} in the agent's database: {name} is a {found}, not a single value"
            ));
            None
        })
    };
    let alias = field("alias");
    let mount_point = field("mount_point").map(PathBuf::from);
    let manager_uuid = field("manager_uuid");
    let version = field("version");
    let filesystem = field("filesystem");
    let fs_location = field("fs_location");
    if mount_point.is_none() {
        warnings.push(format!(
            "repository {id:?} in the agent's database: has no mount point"
        ));
    }
    AgentRepository {
        id,
        alias,
        mount_point,
        manager_uuid,
        version,
        filesystem,
        fs_location,
    }
}

/// The text of a single value, none for `None` and for the empty text; anything that holds several
/// values is an error that names its type.
fn single(value: &Value) -> Result<Option<String>, &'static str> {
    if value.is_container() {
        return Err(value.type_name());
    }
    Ok(value.to_text().filter(|text| !text.is_empty()))
}
