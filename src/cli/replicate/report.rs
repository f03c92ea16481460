//! What a run has done.

use std::time::Duration;

use serde_json::json;

use super::ReplicateOptions;
use crate::cli::output::{Cell, Listing, OutputOptions, moment};
use crate::cli::progress::clock;
use crate::cli::say;
use crate::client::replicate::{DiskOutcome, Outcome};

/// Prints it: a table of the disks, or all of it as JSON, one line a run where there are many.
pub fn outcome(
    outcome: &Outcome,
    options: &ReplicateOptions,
    output: &OutputOptions,
) -> anyhow::Result<()> {
    if output.is_json() {
        return output.json(outcome, options.every.is_some());
    }
    let printed = output.list(disks(&outcome.disks));
    for warning in &outcome.warnings {
        say(&format!("ovm-exporter: warning: {warning}"));
    }
    for disk in &outcome.forgotten {
        say(&format!(
            "ovm-exporter: warning: {disk} is not copied any more: the machine has it no longer, or \
             it is not among the wanted ones"
        ));
    }
    let taken_at = outcome.taken_at.map(|time| format!(" of {}", moment(time)));
    say(&format!(
        "{} holds snapshot {}{}, after {}",
        outcome.vm,
        outcome.snapshot,
        taken_at.unwrap_or_default(),
        clock(outcome.time)
    ));
    printed
}

fn disks(disks: &[DiskOutcome]) -> Listing {
    let mut listing = Listing::new(
        &[],
        &[
            "Disk", "Size", "How", "Data", "Zeros", "Received", "Time", "Checked", "Target", "Why",
        ],
    );
    for disk in disks {
        listing.push([
            disk.name.as_str().into(),
            Cell::bytes(disk.size),
            disk.how.to_string().into(),
            Cell::bytes(disk.data),
            Cell::bytes(disk.zeros),
            Cell::bytes(disk.received),
            time(disk.time),
            disk.checked.into(),
            disk.target.as_str().into(),
            disk.why.as_str().into(),
        ]);
    }
    listing
}

fn time(time: Duration) -> Cell {
    Cell::new([clock(time)], json!(time.as_secs_f64()))
}
