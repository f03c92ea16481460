//! A vm.cfg. A disk in it that nobody sees would be a disk that nobody copies.

#![no_main]

use coriolis_ovm_exporter::ovm::vm_config::{DiskEntry, VmConfig};
use libfuzzer_sys::fuzz_target;

const FOLDER: &str = "0004fb0000060000ccaf98a0baa2c186";
const DISK: &str = "file:/OVS/Repositories/r/VirtualDisks/marker.img,xvdz,w";

fuzz_target!(|bytes: &[u8]| {
    let vm = VmConfig::parse(bytes, FOLDER);
    assert_eq!(vm, VmConfig::parse(bytes, FOLDER), "read twice");
    if let Ok(vm) = vm {
        assert!(!vm.name.is_empty());
        vm.disks.iter().for_each(check);
    }

    let assignment = format!("disk = ['{DISK}']\n");
    // Behind whatever comes, even within a bracket or string that it left open, the disks are
    // these, or it is said that they may be others.
    let behind = [bytes, b"\n", assignment.as_bytes()].concat();
    if let Ok(vm) = VmConfig::parse(&behind, FOLDER) {
        assert!(!vm.disks_complete || is_marker(&vm), "{vm:?}");
    }
    // Nothing that does not name the disks puts them in doubt or takes them away.
    if !bytes.windows(4).any(|word| word == b"disk") {
        let before = [assignment.as_bytes(), bytes].concat();
        if let Ok(vm) = VmConfig::parse(&before, FOLDER) {
            assert!(vm.disks_complete && is_marker(&vm), "{vm:?}");
        }
    }
});

fn is_marker(vm: &VmConfig) -> bool {
    matches!(vm.disks.as_slice(), [disk] if *disk == DiskEntry::parse(DISK))
}

/// A disk without a problem has a path that can only mean one file.
fn check(disk: &DiskEntry) {
    if disk.problem.is_none() && disk.scheme.may_be_file() && !disk.path.is_empty() {
        assert!(disk.path.starts_with('/'), "{disk:?}");
        assert!(!disk.path.contains('\0'), "{disk:?}");
        assert!(disk.path.split('/').all(|part| part != ".."), "{disk:?}");
    }
    assert!(
        disk.problem.is_some() || !disk.path.is_empty() || disk.is_cdrom,
        "{disk:?}"
    );
}
