//! The databases of the Oracle VM agent.

use std::sync::{Mutex, PoisonError};

use super::finding::Finding;
use super::round::Notes;
use crate::ovm::agent::{AgentDatabases, AgentRepository};

const CHECK: &str = "agent";
const ADVICE: &str = "see whether ovs-agent runs, and agent_db_dir is its folder";

/// Also puts the repositories that the agent knows into `known`.
pub(super) fn check(notes: &Notes, agent: &AgentDatabases, known: &Mutex<Vec<AgentRepository>>) {
    let warn = |subject: &str, warnings: Vec<String>| {
        for warning in warnings {
            notes.found(Finding::warning(CHECK, warning, ADVICE).of(subject));
        }
    };
    notes.doing("reading the table of repositories");
    match agent.repositories() {
        Err(error) => {
            notes.found(Finding::bad(CHECK, error.to_string(), ADVICE).of("repository"));
        }
        Ok((repositories, warnings)) => {
            warn("repository", warnings);
            let message = match repositories.len() {
                0 => "no repository is known: there is nothing to copy here".to_owned(),
                1 => "1 repository".to_owned(),
                count => format!("{count} repositories"),
            };
            notes.found(match repositories.is_empty() {
                false => Finding::good(CHECK, message).of("repository"),
                true => {
                    let advice = "present repositories to this server in the Oracle VM Manager";
                    Finding::warning(CHECK, message, advice).of("repository")
                }
            });
            *known.lock().unwrap_or_else(PoisonError::into_inner) = repositories;
        }
    }
    notes.doing("reading the server's settings");
    match agent.server_settings() {
        Err(error) => notes.found(Finding::bad(CHECK, error.to_string(), ADVICE).of("server")),
        Ok(settings) => {
            warn("server", settings.warnings);
            let pool = settings.pool_alias.as_deref().unwrap_or("without a name");
            notes.found(Finding::good(CHECK, format!("server pool {pool:?}")).of("server"));
        }
    }
}
