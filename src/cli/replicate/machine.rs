//! Whether there is such a machine with such disks, before anything is made for its replica.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use reqwest::StatusCode;

use super::ReplicateOptions;
use super::shared_state::SharedState;
use crate::cli::patience::Patience;
use crate::client::replicate::{ReplicateError, StateFile, StateStore as _};
use crate::client::{Client, ClientError};
use crate::protocol::Vm;

/// Looks for the machine, and opens the state of its replica.
pub async fn begin(clients: &[Client], options: &ReplicateOptions) -> anyhow::Result<SharedState> {
    let machine = match look(clients, &options.vm).await {
        Err(error) if is_unknown(&error) => {
            let text = unknown(clients, &options.vm).await;
            return Err(anyhow::Error::new(error).context(text));
        }
        found => found?,
    };
    // The first generation answered no id.
    let id = Some(machine.id.as_str()).filter(|id| !id.is_empty());
    let file = options.state_file(id.unwrap_or(&options.vm))?;
    let mut unknown: BTreeMap<&str, &str> = options
        .placed_disks()
        .map(|(flag, name)| (name, flag))
        .collect();
    for disk in &machine.disks {
        unknown.remove(disk.name.as_str());
    }
    if !file.exists() {
        refuse(&unknown, &options.vm)?;
    }
    if let Some(folder) = &options.to {
        fs::create_dir_all(folder).map_err(|error| {
            ReplicateError::Setup(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    let state = StateFile::open(file).map_err(ReplicateError::State)?;
    // The machine may have lost a disk that an earlier run has not copied to its end.
    if let Some(known) = state.load().map_err(ReplicateError::State)? {
        let dirty = known.pending.iter().flat_map(|pending| &pending.dirty);
        for name in known.disks.keys().chain(dirty) {
            unknown.remove(name.as_str());
        }
    }
    refuse(&unknown, &options.vm)?;
    Ok(SharedState(Arc::new(state)))
}

/// The machine as the first node that sees it tells of it: a node may have started without its
/// repositories, and then it sees none.
async fn look(clients: &[Client], vm: &str) -> Result<Vm, ClientError> {
    let mut patience = Patience::default();
    loop {
        let mut failed = ClientError::Io(io::Error::other("there is no node to ask"));
        let mut refused = None;
        for client in clients {
            match client.vm(vm).await {
                Ok(found) => return Ok(found),
                Err(error) if error.is_transient() => failed = error,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        patience.wait(failed).await?;
    }
}

fn is_unknown(error: &ClientError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND)
}

/// What is said of a machine that is not there. People know machines by another name.
async fn unknown(clients: &[Client], vm: &str) -> String {
    let mut text =
        format!("a machine is named by its id, or by vm.cfg's name or uuid, not \"{vm}\"");
    for client in clients {
        let Ok(machines) = client.vms().await else {
            continue;
        };
        let called: Vec<&Vm> = machines
            .iter()
            .filter(|machine| machine.friendly_name == vm)
            .collect();
        if let [machine] = called[..] {
            text += &format!("; people call {} so", machine.id);
        }
        break;
    }
    text
}

/// `unknown`: disks and the flags that name them.
fn refuse(unknown: &BTreeMap<&str, &str>, vm: &str) -> Result<(), ReplicateError> {
    let Some((name, flag)) = unknown.first_key_value() else {
        return Ok(());
    };
    Err(ReplicateError::Setup(format!(
        "{flag} {name}=…: machine {vm} has no disk of that name; `ovm-exporter vms show {vm}` names \
         them"
    )))
}
