//! The command line client.

use std::process::ExitCode;

fn main() -> ExitCode {
    coriolis_ovm_exporter::cli::run()
}
