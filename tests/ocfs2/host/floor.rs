//! What the machine of the kernel's floor needs from the host.

use std::path::Path;
use std::process::Command;

use super::image::run;
use super::{Lab, boot_once};
use crate::node;
use crate::scenario::Scenario;

/// Adds the agent's databases to the payload, and makes sure that the daemon in it is the static
/// one that `make release` makes.
pub fn drive(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-static.sh");
    let said = run(Command::new(check).arg(env!("CARGO_BIN_EXE_coriolis-ovm-exporter")))?;
    for line in said.lines() {
        println!("  {line}");
    }
    node::write_databases(&lab.payload()?)?;
    boot_once(lab, scenario)
}
