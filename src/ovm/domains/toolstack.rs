//! Which program to ask, and asking it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Domains, DomainsError, command};

/// The time that `xm list` has. Xend may hang; the inventory must not hang with it.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Where the programs lie, whatever the daemon's own `PATH` says.
const USUAL_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/bin", "/sbin"];

/// How the program is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// `xm` if there is one, then `xl`. Where both are there and one fails, as `xm` does without
    /// xend, the other is asked.
    Auto,
    /// This program, which takes the argument `list`.
    Program(PathBuf),
}

/// The toolstack of this node.
#[derive(Debug, Clone)]
pub struct Toolstack {
    choice: ToolChoice,
    folders: Vec<PathBuf>,
    time_limit: Duration,
}

impl Toolstack {
    /// A toolstack that is looked for in `PATH` and in the usual folders, each time anew: it may be
    /// installed while the daemon runs.
    pub fn new(choice: ToolChoice) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path)
            .chain(USUAL_FOLDERS.map(PathBuf::from))
            .filter(|folder| folder.is_absolute())
            .collect();
        Self::in_folders(choice, folders, TIME_LIMIT)
    }

    /// A toolstack that is looked for in these folders only, and has this long to answer.
    pub fn in_folders(choice: ToolChoice, folders: Vec<PathBuf>, time_limit: Duration) -> Self {
        Self {
            choice,
            folders,
            time_limit,
        }
    }

    /// The domains of this node. Where the toolstack does not answer, they are all unknown, and
    /// [`Domains::doubt`] says why.
    pub async fn domains(&self) -> Domains {
        self.list()
            .await
            .unwrap_or_else(|error| Domains::unknown(error.to_string()))
    }

    /// The domains of this node.
    ///
    /// # Errors
    /// When no program is there, or none answers with a table in time.
    pub async fn list(&self) -> Result<Domains, DomainsError> {
        let mut failure: Option<DomainsError> = None;
        for program in self.programs() {
            match command::list(&program, self.time_limit).await {
                Ok(domains) => return Ok(domains),
                Err(second) => {
                    failure = Some(match failure {
                        None => second,
                        Some(first) => DomainsError::Both {
                            first: first.into(),
                            second: second.into(),
                        },
                    });
                }
            }
        }
        Err(failure.unwrap_or(DomainsError::NoTool))
    }

    /// The programs that are there, in the order in which they are asked.
    #[must_use]
    pub fn programs(&self) -> Vec<PathBuf> {
        match &self.choice {
            ToolChoice::Program(program) => vec![program.clone()],
            ToolChoice::Auto => ["xm", "xl"]
                .into_iter()
                .filter_map(|name| self.find(name))
                .collect(),
        }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| is_program(path))
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[path = "toolstack_tests.rs"]
mod tests;
