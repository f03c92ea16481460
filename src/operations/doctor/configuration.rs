//! The configuration file: what `check-config` says, and nothing where it says nothing.

use std::path::Path;

use super::Loaded;
use super::finding::Finding;
use crate::config::{self, Severity, check};

const CHECK: &str = "configuration";

/// What is wrong with the file, and its settings where the daemon could start with it.
pub(super) fn check(file: &Path) -> (Vec<Finding>, Option<Loaded>) {
    let report = check::check(file);
    let loaded = config::load(file).ok();
    let mut findings: Vec<Finding> = report
        .problems
        .iter()
        .map(|problem| {
            let advice = "coriolis-ovm-exporter check-config shows the file's mistakes";
            let key = problem.key.as_ref().map(|key| format!("{key}: "));
            let message = format!("{}{}", key.unwrap_or_default(), problem.message);
            let finding = match problem.severity {
                // The daemon starts with a key that it does not know.
                Severity::Error if loaded.is_some() && !stops(problem.key.as_deref()) => {
                    Finding::warning(CHECK, message, advice)
                }
                Severity::Error => Finding::bad(CHECK, message, advice),
                Severity::Warning => Finding::warning(CHECK, message, advice),
            };
            finding.of(file.display())
        })
        .collect();
    if loaded.is_none() {
        let message = "without it, only the node itself can be checked";
        let advice = "repair it first, or make one: coriolis-ovm-exporter init";
        findings.push(Finding::bad(CHECK, message, advice).of(file.display()));
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "no mistake in it").of(file.display()));
    }
    (findings, loaded)
}

/// Whether a mistake in this key is more than an unknown word in the file.
fn stops(key: Option<&str>) -> bool {
    const NEEDED: [&str; 7] = [
        "agent_db_dir",
        "api.tls.ca_certificate",
        "api.tls.certificate",
        "api.tls.key",
        "db_file",
        "log_file",
        "ovm_ca_certificate",
    ];
    key.is_some_and(|key| {
        NEEDED.contains(&key) || key.starts_with("snapshots.") || key == "toolstack"
    })
}
