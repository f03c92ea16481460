//! The toolstack's program, as a guard uses it: one domain, no async runtime.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::call::{Call, Ended};
use crate::ovm::domains::{DomainState, Domains, parse_table};

/// A name that the programs take for a name.
///
/// # Errors
/// Why they would not.
pub(super) fn usable(domain: &str) -> Result<(), String> {
    if domain.is_empty() || domain.starts_with('-') || domain.contains(char::is_control) {
        return Err(format!("{domain:?} cannot be the name of a domain"));
    }
    if domain.parse::<u32>().is_ok() {
        return Err(format!(
            "the toolstack would take the name {domain:?} for the number of a domain"
        ));
    }
    Ok(())
}

/// Calls a program with a domain.
pub(super) fn call(program: &Path, word: &str, domain: &str, limit: Duration) -> Ended {
    run(program, vec![word.into(), domain.into()], limit)
}

/// The domains, as the program lists them.
///
/// # Errors
/// Why there is no list.
pub(super) fn list(program: &Path, limit: Duration) -> Result<Domains, String> {
    let output = run(program, vec!["list".into()], limit).output()?;
    parse_table(&String::from_utf8_lossy(&output))
        .ok_or_else(|| format!("{} list wrote no table of domains", program.display()))
}

/// What a domain does, asked of each program until one answers; and which one that was.
///
/// # Errors
/// Why none did.
pub(super) fn state(
    programs: &[PathBuf],
    domain: &str,
    limit: Duration,
) -> Result<(PathBuf, DomainState), String> {
    let mut reasons = Vec::new();
    for program in programs {
        match list(program, limit) {
            Ok(domains) => return Ok((program.clone(), domains.state(domain))),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        reasons.push("neither xm nor xl is installed on this node".to_owned());
    }
    Err(reasons.join("; "))
}

/// Calls for the end of a pause, with each program until one succeeds.
///
/// # Errors
/// Why none did.
pub(super) fn unpause(programs: &[PathBuf], domain: &str, limit: Duration) -> Result<(), String> {
    let mut reasons = Vec::new();
    for program in programs {
        match call(program, "unpause", domain, limit).output() {
            Ok(_) => return Ok(()),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn run(program: &Path, arguments: Vec<OsString>, limit: Duration) -> Ended {
    Call {
        program,
        arguments,
        environment: Vec::new(),
        limit,
        // The guest waits for it.
        expendable: false,
    }
    .run(|| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_a_flag_nor_a_number() {
        for good in [
            "0004fb0000060000ccaf98a0baa2c186",
            "00040000060000112222333344445555",
            "a name",
            "5x",
        ] {
            usable(good).unwrap();
        }
        for bad in ["", "-h", "--help", "5", "0", "a\nb"] {
            usable(bad).unwrap_err();
        }
    }
}
