//! A state that Python keeps.

use std::io;

use coriolis_ovm_exporter::client::replicate::{ReplicaState, StateStore};

use super::calls::{Answer, Caller, Deed};

/// An object of Python's with `load` and `save`, both of JSON.
pub(super) struct PythonStore(Caller);

impl PythonStore {
    pub(super) fn new(line: Caller) -> PythonStore {
        PythonStore(line)
    }
}

impl StateStore for PythonStore {
    fn load(&self) -> io::Result<Option<ReplicaState>> {
        match self.0.ask(Deed::Load)? {
            Answer::Text(None) => Ok(None),
            Answer::Text(Some(text)) => serde_json::from_str(&text).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("it is no state of a replica: {error}"),
                )
            }),
            _ => Err(io::Error::other("load answered something else")),
        }
    }

    fn save(&self, state: &ReplicaState) -> io::Result<()> {
        let text = serde_json::to_string(state)?;
        self.0.ask(Deed::Save(text)).map(drop)
    }

    fn name(&self) -> String {
        "the state".to_owned()
    }
}
