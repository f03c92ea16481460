//! What the machine unpacks and runs: a tar file as its first disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::brief::{self, Brief};
use crate::host::image::run;
use crate::scenario::Scenario;

/// Where the payload below `folder` is gathered.
pub fn folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let inside = folder.join("payload");
    fs::create_dir_all(&inside)?;
    Ok(inside)
}

/// Puts this program, the daemon and the brief to what is in the folder, and gives the tar file of
/// all that, which has the folder's name with `.tar`.
pub fn pack(inside: &Path, scenario: &Scenario, brief: &Brief) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(inside)?;
    let script = inside.join("run");
    fs::write(
        &script,
        format!("#!/bin/sh\nexec ./ocfs2 guest {}\n", scenario.name),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    fs::write(inside.join(brief::FILE), serde_json::to_vec(brief)?)?;
    for (name, program) in [
        ("ocfs2", std::env::current_exe()?),
        (
            "coriolis-ovm-exporter",
            env!("CARGO_BIN_EXE_coriolis-ovm-exporter").into(),
        ),
    ] {
        let link = inside.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(program, link)?;
        }
    }
    let payload = inside.with_extension("tar");
    run(Command::new("tar")
        .args(["--create", "--dereference", "--file"])
        .arg(&payload)
        .arg("--directory")
        .arg(inside)
        .arg("."))?;
    Ok(payload)
}
