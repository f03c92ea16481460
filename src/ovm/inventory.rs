//! The virtual machines of this node's repositories.
//!
//! One bad thing never hides another: a vm.cfg that cannot be read is a machine with a warning, a
//! repository that is not mounted is listed as such, and everything else is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent::{AgentDatabases, AgentRepository};
use super::looks::Looks;
use super::repository::{Repository, RepositorySource};
use super::vm_config::VmConfig;
use super::warning_log::WarningLog;

/// A virtual machine, as its vm.cfg describes it.
#[derive(Debug, Clone)]
pub struct Vm {
    /// The name of its directory: 32 hexadecimal digits where OVM made it.
    pub id: String,
    /// The repository that holds its vm.cfg. Its disks may lie elsewhere.
    pub repository: String,
    /// What vm.cfg says. None where it cannot be read.
    pub config: Option<VmConfig>,
    /// What is wrong, in words for people.
    pub warnings: Vec<String>,
    /// Two machines have this id: nobody can say which one is meant.
    pub ambiguous: bool,
}

/// All that the node's files tell.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Ordered by id.
    pub vms: Vec<Vm>,
    /// All that is wrong, with each machine and with the folders that hold them, in words for
    /// people.
    pub warnings: Vec<String>,
    /// Folders that are named like machines and have no vm.cfg: left behind by OVM, or by a vm.cfg
    /// that was lost.
    pub without_config: Vec<PathBuf>,
}

impl Inventory {
    /// The machine that `name` means: its id, else its vm.cfg's `name` or `uuid` if only one
    /// machine has that.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Vm> {
        if let Some(vm) = self.vms.iter().find(|vm| vm.id == name) {
            return Some(vm);
        }
        let mut matching = self.vms.iter().filter(|vm| {
            vm.config
                .as_ref()
                .is_some_and(|config| config.name == name || config.uuid == name)
        });
        matching.next().filter(|_| matching.next().is_none())
    }
}

/// The node's files.
#[derive(Debug, Clone)]
pub struct NodeFiles {
    agent: AgentDatabases,
    looks: Arc<Looks>,
    repository_log: Arc<WarningLog>,
    machine_log: Arc<WarningLog>,
}

impl NodeFiles {
    /// A node whose agent keeps its databases there.
    #[must_use]
    pub fn new(agent: AgentDatabases) -> NodeFiles {
        NodeFiles {
            agent,
            looks: Arc::default(),
            repository_log: Arc::default(),
            machine_log: Arc::default(),
        }
    }

    /// The agent's databases.
    #[must_use]
    pub fn agent(&self) -> &AgentDatabases {
        &self.agent
    }

    /// Every repository that the agent knows, and what is wrong: what could not be read, and which
    /// of them are not there, or do not answer. Blocks, but for no repository that hangs.
    #[must_use]
    pub fn look_at_repositories(&self) -> (Vec<Repository>, Vec<String>) {
        let (repositories, mut warnings) = match self.agent.repositories() {
            Ok((known, warnings)) => (self.looks.at(known), warnings),
            Err(error) => (Vec::new(), vec![error.to_string()]),
        };
        for repository in &repositories {
            if let Some(reason) = repository.mount.absence() {
                warnings.push(format!(
                    "repository {} cannot be used: {reason}",
                    repository.id
                ));
            }
        }
        self.repository_log.tell(&warnings);
        (repositories, warnings)
    }

    /// Every virtual machine of those repositories that are mounted. Blocks.
    #[must_use]
    pub fn inventory(&self, repositories: &[Repository]) -> Inventory {
        let mut inventory = Inventory::default();
        for repository in repositories {
            if repository.status().is_none() {
                continue;
            }
            let directory = repository.mount_point.join("VirtualMachines");
            match list(&directory) {
                Ok(ids) => {
                    for id in ids {
                        let folder = directory.join(&id);
                        match read_vm(&directory, id, &repository.id) {
                            Some(vm) => inventory.vms.push(vm),
                            None if folder.is_dir() => inventory.without_config.push(folder),
                            None => {}
                        }
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => inventory
                    .warnings
                    .push(format!("{}: {error}", directory.display())),
            }
        }
        inventory
            .vms
            .sort_by(|one, other| (&one.id, &one.repository).cmp(&(&other.id, &other.repository)));
        mark_ambiguous(&mut inventory.vms);
        for vm in &inventory.vms {
            for warning in &vm.warnings {
                let warning = format!("virtual machine {}: {warning}", vm.id);
                // Machines of one id say the same of each other.
                if inventory.warnings.last() != Some(&warning) {
                    inventory.warnings.push(warning);
                }
            }
        }
        self.machine_log.tell(&inventory.warnings);
        inventory
    }
}

impl RepositorySource for NodeFiles {
    fn repositories(&self) -> Vec<Repository> {
        self.look_at_repositories().0
    }
}

/// Looks at a repository that the agent knows. Blocks.
#[must_use]
pub fn look_at(known: AgentRepository) -> Repository {
    let mount_point = place_of(&known);
    Repository::inspect(known.id, known.alias, mount_point)
}

/// Where it is mounted, or would be.
pub(super) fn place_of(known: &AgentRepository) -> PathBuf {
    // Where the agent's record has lost the mount point, it is where OVM always puts it.
    let put = || Path::new("/OVS/Repositories").join(&known.id);
    known.mount_point.clone().unwrap_or_else(put)
}

fn list(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for item in fs::read_dir(directory)? {
        // A name that is not text cannot be asked for in a URL either.
        if let Ok(name) = item?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// None for a directory without a vm.cfg: OVM leaves those behind.
fn read_vm(directory: &Path, id: String, repository: &str) -> Option<Vm> {
    let path: PathBuf = directory.join(&id).join("vm.cfg");
    if fs::symlink_metadata(&path).is_err_and(|error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        )
    }) {
        return None;
    }
    let (config, warnings) = match VmConfig::read(&path) {
        Ok(config) => {
            let warnings = config.warnings.clone();
            (Some(config), warnings)
        }
        Err(error) => (None, vec![error.to_string()]),
    };
    Some(Vm {
        id,
        repository: repository.to_owned(),
        config,
        warnings,
        ambiguous: false,
    })
}

fn mark_ambiguous(vms: &mut [Vm]) {
    for at in 1..vms.len() {
        if vms[at - 1].id != vms[at].id {
            continue;
        }
        let places = format!(
            "repositories {} and {} both hold a virtual machine of this id",
            vms[at - 1].repository,
            vms[at].repository
        );
        for vm in &mut vms[at - 1..=at] {
            vm.ambiguous = true;
            vm.warnings.push(places.clone());
        }
    }
}
