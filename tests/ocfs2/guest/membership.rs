//! A node's membership in an o2cb cluster: what `o2cb.init` does, by hand.
//! `Documentation/filesystems/ocfs2.rst`, `fs/ocfs2/cluster/`.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};

use crate::brief::{self, Disk, Seat};

/// As the host's mkfs names it.
const CLUSTER: &str = "/sys/kernel/config/cluster/lab";
/// A node that is not heard for four intervals of 2 s is dead. Fewer is not safe: a node that was
/// frozen must notice in time that it has been given up.
const DEAD_THRESHOLD: &str = "5";
const PORT: &str = "7777";

/// Joins with a heartbeat on every disk. Takes some seconds: others must be heard first.
pub fn join(seat: &Seat, disks: &[Disk]) {
    mount(
        Some("configfs"),
        "/sys/kernel/config",
        Some("configfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    set("/sys/fs/ocfs2/cluster_stack", "o2cb");
    leave_when_unmounted();
    let cluster = PathBuf::from(CLUSTER);
    fs::create_dir(&cluster).unwrap();
    // Before any region is made.
    set(cluster.join("heartbeat/dead_threshold"), DEAD_THRESHOLD);
    for number in 1..=seat.nodes {
        let node = cluster.join(format!("node/n{number}"));
        fs::create_dir(&node).unwrap();
        set(node.join("ipv4_port"), PORT);
        set(
            node.join("ipv4_address"),
            &brief::inner_address(number).to_string(),
        );
        set(node.join("num"), &number.to_string());
        if number == seat.number {
            set(node.join("local"), "1");
        }
    }
    for disk in disks {
        beat(disk);
    }
}

fn beat(disk: &Disk) {
    let name = disk.uuid.simple().to_string().to_uppercase();
    let region = PathBuf::from(CLUSTER).join("heartbeat").join(name);
    fs::create_dir(&region).unwrap();
    set(region.join("block_bytes"), "512");
    set(
        region.join("start_block"),
        &disk.heartbeat.unwrap().to_string(),
    );
    set(region.join("blocks"), "255");
    let device = File::options()
        .read(true)
        .write(true)
        .open(&disk.device)
        .unwrap();
    set(region.join("dev"), &device.as_raw_fd().to_string());
}

/// The kernel calls a program when the last mount is gone, which has to end the heartbeat.
fn leave_when_unmounted() {
    let program = PathBuf::from("/tmp/hb_ctl");
    fs::write(
        &program,
        format!("#!/bin/sh\nrmdir {CLUSTER}/heartbeat/* 2>/dev/null\n"),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    set(
        "/proc/sys/fs/ocfs2/nm/hb_ctl_path",
        program.to_str().unwrap(),
    );
}

fn set(file: impl Into<PathBuf>, value: &str) {
    let file = file.into();
    fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
