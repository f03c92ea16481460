//! `report`.

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::output::{Cell, Listing, OutputOptions};
use super::{size, subject};
use crate::client::Client;
use crate::protocol::{
    BootCode, Content, DiskReport, Firmware, Partition, TableKind, VmReport, VolumeGroup,
};

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportOptions {
    /// The machine's id, or vm.cfg's name or uuid.
    #[arg(value_name = "VM")]
    vm: String,
    /// The snapshot to read; without it, the latest one.
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
}

pub async fn run(
    client: &Client,
    options: &ReportOptions,
    output: &OutputOptions,
) -> anyhow::Result<()> {
    let snapshot: Option<Uuid> = options.snapshot.as_deref().map(subject::id).transpose()?;
    output.one(shown(&client.report(&options.vm, snapshot).await?))
}

fn shown(report: &VmReport) -> Listing {
    let mut listing = Listing::new(
        &[],
        &[
            "VM",
            "Snapshot",
            "Taken",
            "Firmware",
            "Boot disk",
            "Extents",
            "Expected stall ms",
            "Stall source",
            "Disks",
            "Checks",
            "Notes",
        ],
    );
    let checks = report.checks.iter();
    let checks = checks.map(|check| format!("{}: {}", check.id, check.text));
    listing.push([
        report.vm_id.as_str().into(),
        report.snapshot.to_string().into(),
        report.created_at.as_str().into(),
        report.firmware.map(firmware).into(),
        report.boot_disk.as_deref().into(),
        report.extents.into(),
        report.expected_stall_ms.into(),
        report.stall_source.as_str().into(),
        Cell::new(report.disks.iter().flat_map(disk), json!(report.disks)),
        Cell::new(checks, json!(report.checks)),
        Cell::new(report.notes.iter().cloned(), json!(report.notes)),
    ]);
    listing
}

fn firmware(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    }
}

fn disk(disk: &DiskReport) -> Vec<String> {
    let contents = &disk.contents;
    let table = match contents.table {
        TableKind::None => "no partition table",
        TableKind::Mbr => "MBR",
        TableKind::Gpt => "GPT",
    };
    let code = match contents.boot_code {
        BootCode::None => "no boot code",
        BootCode::Grub => "GRUB",
        BootCode::GrubLegacy => "GRUB 0.9x",
        BootCode::Lilo => "LILO",
        BootCode::Windows => "boot code of Windows",
        BootCode::Syslinux => "SYSLINUX",
        BootCode::Unknown => "unknown boot code",
    };
    let mut lines = vec![format!(
        "{} {}: {table}, {code}, {} extents, about {} ms",
        disk.name,
        size::text(disk.size),
        disk.extents,
        disk.expected_stall_ms,
    )];
    lines.extend(contents.content.iter().flat_map(|it| content("  ", it)));
    lines.extend(contents.partitions.iter().flat_map(partition));
    lines.extend(contents.notes.iter().map(|note| format!("  note: {note}")));
    lines
}

fn partition(partition: &Partition) -> Vec<String> {
    let purpose = partition.purpose.as_deref().unwrap_or(&partition.kind);
    let name = partition.name.as_ref().map(|name| format!(" \"{name}\""));
    let mut line = format!(
        "  {}{} {} {purpose}{}",
        partition.number,
        if partition.bootable { "*" } else { "" },
        size::text(partition.length),
        name.unwrap_or_default(),
    );
    let mut lines = Vec::new();
    if let Some(found) = &partition.content {
        let inside = content("", found);
        line += &format!(": {}", inside[0]);
        lines = inside[1..].iter().map(|line| format!("  {line}")).collect();
    }
    lines.insert(0, line);
    lines
}

/// A line, and one for each volume in it.
fn content(indent: &str, content: &Content) -> Vec<String> {
    let mut line = format!("{indent}{}", content.kind);
    if let Some(label) = &content.label {
        line += &format!(" \"{label}\"");
    }
    if let Some(uuid) = &content.uuid {
        line += &format!(" {uuid}");
    }
    let mut lines = vec![line];
    lines.extend(content.group.iter().flat_map(|it| volumes(indent, it)));
    lines
}

fn volumes(indent: &str, group: &VolumeGroup) -> Vec<String> {
    let volumes = group.volumes.iter();
    volumes
        .map(|volume| {
            let inside = volume.content.as_ref().map(|it| self::content("", it));
            let inside = inside.map(|lines| format!(": {}", lines[0]));
            format!(
                "{indent}  {}/{} {}{}",
                group.name,
                volume.name,
                size::text(volume.size),
                inside.unwrap_or_default(),
            )
        })
        .collect()
}
