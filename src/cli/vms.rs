//! `vms list`, `vms show`.

use clap::Subcommand;
use serde_json::json;

use super::output::{Cell, Listing, OutputOptions};
use crate::client::Client;
use crate::protocol::{Vm, VmDisk, VmState};

/// What is done with virtual machines.
#[derive(Debug, Subcommand)]
pub enum VmsCommand {
    /// List those that the node sees.
    List,
    /// Show one.
    Show {
        /// Its id, or vm.cfg's name or uuid.
        #[arg(value_name = "VM")]
        id: String,
    },
}

pub async fn run(
    client: &Client,
    command: &VmsCommand,
    output: &OutputOptions,
) -> anyhow::Result<()> {
    match command {
        VmsCommand::List => output.list(listing(&client.vms().await?)),
        VmsCommand::Show { id } => output.one(shown(&client.vm(id).await?)),
    }
}

fn listing(vms: &[Vm]) -> Listing {
    let mut listing = Listing::new(
        &["ID", "Friendly Name", "Snapshots"],
        &["State", "Compatible", "Disks", "Size"],
    );
    for vm in vms {
        listing.push([
            name(vm).into(),
            vm.friendly_name.as_str().into(),
            Cell::lines(&vm.snapshots),
            state(vm.state).into(),
            vm.snapshot_compatible.into(),
            copied(vm).count().into(),
            Cell::bytes(copied(vm).filter_map(|disk| disk.size).sum()),
        ]);
    }
    listing
}

fn shown(vm: &Vm) -> Listing {
    let mut listing = Listing::new(
        &["ID", "Friendly name", "UUID", "Disks", "Snapshots"],
        &[
            "State",
            "On this node",
            "Compatible",
            "Disk details",
            "vCPUs",
            "Memory MiB",
            "Type",
            "OS",
            "Boot order",
            "NICs",
            "Warnings",
        ],
    );
    let names: Vec<&str> = vm.disks.iter().map(|disk| disk.name.as_str()).collect();
    let nics = vm.nics.iter().map(|nic| {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        format!("{} on {}", part(&nic.mac), part(&nic.bridge))
    });
    listing.push([
        name(vm).into(),
        vm.friendly_name.as_str().into(),
        vm.uuid.as_str().into(),
        Cell::lines(&names),
        Cell::lines(&vm.snapshots),
        state(vm.state).into(),
        vm.on_this_node.into(),
        vm.snapshot_compatible.into(),
        Cell::new(vm.disks.iter().map(disk_line), json!(vm.disks)),
        vm.vcpus.into(),
        vm.memory_mib.into(),
        vm.domain_type.as_deref().into(),
        vm.os_type.as_deref().into(),
        vm.boot_order.as_deref().into(),
        Cell::new(nics, json!(vm.nics)),
        Cell::new(vm.warnings.iter().cloned(), json!(vm.warnings)),
    ]);
    listing
}

/// What requests name it by. The first generation's command prints `name`, which is the same on a
/// machine that nobody has renamed by hand.
fn name(vm: &Vm) -> &str {
    if vm.id.is_empty() { &vm.name } else { &vm.id }
}

fn copied(vm: &Vm) -> impl Iterator<Item = &VmDisk> {
    vm.disks.iter().filter(|disk| !disk.cdrom)
}

fn disk_line(disk: &VmDisk) -> String {
    let size = disk
        .size
        .map_or("size unknown".to_owned(), super::size::text);
    let reason = disk.reason.as_ref().map(|reason| format!(": {reason}"));
    format!(
        "{} {} {size} {}{}",
        disk.device_name,
        disk.mode,
        disk.name,
        reason.unwrap_or_default()
    )
}

fn state(state: VmState) -> &'static str {
    match state {
        VmState::Running => "running",
        VmState::Paused => "paused",
        VmState::Off => "off",
        VmState::Elsewhere => "elsewhere",
        VmState::Unknown => "unknown",
    }
}
