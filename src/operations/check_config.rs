//! `coriolis-ovm-exporter check-config`.

use std::path::Path;
use std::process::ExitCode;

use crate::config::check;

/// Prints every problem of a configuration file. Fails where one is more than a warning.
#[must_use]
pub fn run(file: &Path) -> ExitCode {
    let report = check::check(file);
    print!("{report}");
    if report.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
