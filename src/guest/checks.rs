//! What the orchestrator's preparation asks for and no disk tells without its files being read: a
//! list for whoever can log in to the guest.
//!
//! What Coriolis wants was read from its public guide for preparing machines and from what its
//! worker does with a copied disk (`coriolis/osmorphing`).

use crate::protocol::{BootCode, Content, DiskContents, GuestCheck};

/// Which guests a check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Any,
    Linux,
    Windows,
}

use Of::{Any, Linux, Windows};

/// Ids stay from release to release.
const CHECKS: [(&str, Of, &str); 15] = [
    (
        "addresses",
        Any,
        "know which interfaces take their address from DHCP: the target's networks must have a DHCP server for them; where addresses must stay, set them fixed and map to networks of the same range",
    ),
    (
        "interface-names",
        Linux,
        "udev rules and network scripts name interfaces by MAC address, which the copy keeps where the target allows; not by bus or slot",
    ),
    (
        "fstab",
        Linux,
        "every line of /etc/fstab but swap names its device by UUID=, /dev/disk/by-uuid or the path of a logical volume: others (/dev/xvda1, LABEL=) are not mounted while the copy is prepared; no mount point stands there twice",
    ),
    (
        "root-folders",
        Linux,
        "/etc, /bin, /sbin and /boot are folders of the root file system itself: that is how it is found",
    ),
    (
        "boot-arguments",
        Linux,
        "the boot loader's arguments name root and resume by UUID or logical volume, not by /dev/xvda or /dev/sda",
    ),
    (
        "initramfs",
        Linux,
        "the initramfs can have the target's drivers: virtio (KVM, OCI), hv_vmbus (Hyper-V, Azure), vmw_pvscsi (VMware); it is not cut down to what this machine has now",
    ),
    (
        "packages",
        Linux,
        "the package manager works: its repositories can be reached from the target, nothing is half-installed, and /var and /boot have room for a kernel and an initramfs",
    ),
    (
        "encryption",
        Linux,
        "no encrypted volume must be opened to start, or its key does not depend on this machine",
    ),
    (
        "software-raid",
        Linux,
        "the root file system is not on software RAID, which is not assembled while the copy is prepared",
    ),
    (
        "pv-drivers",
        Windows,
        "Oracle VM's paravirtual drivers are of a release that lets go of the boot disk when others take over; the target's are installed, or can be while the copy is prepared",
    ),
    (
        "fast-startup",
        Windows,
        "it was last shut down for real: hibernation and fast startup are off, no update waits for a restart, and chkdsk finds nothing",
    ),
    ("bitlocker", Windows, "BitLocker is suspended or off"),
    (
        "firewall",
        Windows,
        "the firewall and services that start at boot let in whoever has to log in on another network",
    ),
    (
        "clock",
        Any,
        "the clock comes from the network and not from the host",
    ),
    (
        "consistency",
        Any,
        "databases recover from a copy of one moment; where they span several disks, ask for snapshots with consistency \"pause\" or \"command\"",
    ),
];

/// Those that fit what is on the disks; all of them where that does not tell the system.
#[must_use]
pub fn for_disks<'d>(disks: impl Iterator<Item = &'d DiskContents> + Clone) -> Vec<GuestCheck> {
    let has = |of: Of| disks.clone().any(|disk| signs(disk, of));
    let (linux, windows) = (has(Linux), has(Windows));
    CHECKS
        .iter()
        .filter(|(_, of, _)| match of {
            Any => true,
            Linux => linux || !windows,
            Windows => windows || !linux,
        })
        .map(|(id, _, text)| GuestCheck {
            id: (*id).to_owned(),
            text: (*text).to_owned(),
        })
        .collect()
}

fn signs(disk: &DiskContents, of: Of) -> bool {
    let kind = |content: &Content| match of {
        Linux => [
            "ext2",
            "ext3",
            "ext4",
            "xfs",
            "btrfs",
            "swap",
            "lvm2",
            "luks1",
            "luks2",
            "linux-raid",
        ]
        .contains(&content.kind.as_str()),
        Windows => content.kind == "ntfs",
        Any => true,
    };
    let code = match of {
        Linux => matches!(
            disk.boot_code,
            BootCode::Grub | BootCode::GrubLegacy | BootCode::Lilo
        ),
        Windows => disk.boot_code == BootCode::Windows,
        Any => true,
    };
    let partitions = disk.partitions.iter().filter_map(|it| it.content.as_ref());
    code || disk.content.iter().chain(partitions).any(kind)
}
