//! Interfaces, by their MAC address: nobody promises an order of names.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::brief::{self, Seat};

/// The address that qemu's user network expects the machine to have.
const OUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Brings up the loopback, the way to the host and, in a cluster, the one to the other nodes.
pub fn up(seat: &Seat) {
    ip(&["link", "set", "lo", "up"]);
    configure(&seat.outer_mac(), OUTER);
    if seat.nodes > 1 {
        configure(&seat.inner_mac(), brief::inner_address(seat.number));
    }
}

fn configure(mac: &str, address: Ipv4Addr) {
    let name = name_of(mac);
    ip(&["addr", "add", &format!("{address}/24"), "dev", &name]);
    ip(&["link", "set", &name, "up"]);
}

fn name_of(mac: &str) -> String {
    fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|item| item.unwrap())
        .find(|item| {
            fs::read_to_string(item.path().join("address")).is_ok_and(|found| found.trim() == mac)
        })
        .unwrap_or_else(|| panic!("no interface has the address {mac}"))
        .file_name()
        .into_string()
        .unwrap()
}

fn ip(arguments: &[&str]) {
    let mut command = Command::new("/bin/busybox");
    let status = command.arg("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}: {status}");
}
