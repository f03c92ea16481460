//! What the daemon says of the node: machines, disks, repositories, and what is wrong with them.

mod disks;
mod identity;
mod instances;
mod parts;
mod states;
mod wrong_things;

use coriolis_ovm_exporter::protocol::{Vm, VmDisk};

use super::support::node::TestNode;

/// A vm.cfg with those entries of `disk`, each in quotes.
fn config(name: &str, disks: &[String]) -> String {
    let disks: Vec<String> = disks.iter().map(|disk| format!("'{disk}'")).collect();
    format!(
        "OVM_simple_name = 'called {name}'\nname = '{name}'\n\
         uuid = '0004fb00-0006-0000-ccaf-98a0baa2c186'\ndisk = [{}]\n",
        disks.join(", ")
    )
}

/// Makes a disk of random bytes in a repository and gives its path.
fn disk_file(node: &TestNode, repository: usize, path: &str, size: usize, byte: u8) -> String {
    let path = node.repositories[repository].path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![byte; size]).unwrap();
    path.display().to_string()
}

fn by_device<'v>(vm: &'v Vm, device: &str) -> &'v VmDisk {
    let mut found = vm.disks.iter().filter(|disk| disk.device_name == device);
    let disk = found.next();
    disk.unwrap_or_else(|| panic!("no disk {device} in {:#?}", vm.disks))
}

fn named<'v>(vms: &'v [Vm], id: &str) -> &'v Vm {
    let found = vms.iter().find(|vm| vm.id == id);
    found.unwrap_or_else(|| panic!("{id} is not listed in {vms:#?}"))
}

/// True where some text has every one of `parts`.
fn some_has(texts: &[String], parts: &[&str]) -> bool {
    texts
        .iter()
        .any(|text| parts.iter().all(|part| text.contains(part)))
}
