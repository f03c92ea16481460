//! What the product can do, beside what others do with the same bytes: `make bench`.
//!
//! This program runs in three parts. The *outer* one looks whether there is room, makes a folder,
//! starts the second one where nothing of it can stay behind, and takes the folder away. The
//! *inner* one measures, figure by figure, and reports. The *client* is the library alone in a
//! process of its own, so that its CPU can be told from everybody else's.

// Everything here is measured, and shown to three digits.
#![allow(clippy::cast_precision_loss)]

mod arguments;
mod bench;
mod client;
mod disks;
mod figures;
mod inner;
mod library;
mod loops;
mod machine;
mod memory;
mod network;
mod pairs;
mod peers;
mod process;
// This program has no harness that would run tests: `tests/integration/bench_report.rs` has.
#[cfg_attr(test, allow(unused))]
mod report;
mod rooms;
mod sizes;
mod stage;
mod supervisor;
mod transfer;

use std::process::ExitCode;

use arguments::Role;

fn main() -> ExitCode {
    let done = Role::of_this_process().and_then(|role| match role {
        Role::Outer(wish) => supervisor::run(&wish),
        Role::Inner(wish) => inner::run(&wish),
        Role::Client(errand) => client::run(&errand),
        Role::Scan(errand) => peers::scan::run(&errand),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
