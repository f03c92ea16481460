//! Other replicas in the same directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::client::replicate::ReplicaState;

/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where a state in the directory, other than `ours`, says that the
/// target is its replica's.
pub fn leave_alone(folder: &Path, ours: &Path, target: &Path) -> io::Result<()> {
    let ours = fs::canonicalize(ours).unwrap_or_else(|_| ours.to_owned());
    let name = target.display().to_string();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let is_state = file.starts_with(".ovm-exporter-") && file.ends_with(".json");
        if !is_state || fs::canonicalize(&path).is_ok_and(|path| path == ours) {
            continue;
        }
        // What is no state says nothing.
        let Some(state) = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice::<ReplicaState>(&text).ok())
        else {
            continue;
        };
        if state.owns(&name) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "{name} belongs to the replica of machine {} that {} tells of; name another \
                     directory",
                    state.vm,
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}
