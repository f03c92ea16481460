"""Machines as Coriolis describes them."""

from typing import Any, List

from ..shapes import Json
from .coriolis_side import ProviderError

_SYSTEMS = (
    ("windows", "windows"),
    ("solaris", "solaris"),
    ("bsd", "bsd"),
    ("linux", "linux"),
    ("red hat", "linux"),
    ("suse", "linux"),
    ("ubuntu", "linux"),
    ("debian", "linux"),
    ("centos", "linux"),
)

_BOOT = {"c": "harddisk", "d": "cdrom", "n": "network"}


def copied_disks(vm: Json) -> List[Json]:
    """Those that belong into a replica."""
    return [disk for disk in vm["disks"] if not disk.get("cdrom")]


def instance_info(vm: Json) -> Json:
    """A machine in a list."""
    return {
        "id": vm["id"],
        # What later calls name it by: friendly names are not unique.
        "instance_name": vm["id"],
        "name": vm["friendly_name"] or vm["name"],
        "num_cpu": vm.get("vcpus") or 1,
        "memory_mb": vm.get("memory_mib") or 0,
        "os_type": _system(vm.get("os_type")),
        "firmware_type": "BIOS",
        "nested_virtualization": False,
        "dynamic_memory_enabled": False,
    }


def export_info(vm: Json) -> Json:
    """A machine with all of its devices."""
    info = instance_info(vm)
    disks = [
        {
            "id": disk["name"],
            "format": "raw",
            "size_bytes": disk.get("size") or 0,
            "path": disk["path"],
            "unit_number": number,
            "allocation_type": "dynamic",
            "shareable": disk.get("mode") == "w!",
        }
        for number, disk in enumerate(copied_disks(vm))
    ]
    cdroms = [
        {"id": disk["device_name"], "unit_number": number}
        for number, disk in enumerate(disk for disk in vm["disks"] if disk.get("cdrom"))
    ]
    nics = [
        {
            "id": nic.get("mac") or str(number),
            "name": f"eth{number}",
            "mac_address": nic.get("mac"),
            "network_name": nic.get("bridge") or "",
            "network_id": nic.get("bridge") or "",
        }
        for number, nic in enumerate(vm.get("nics", []))
    ]
    info["devices"] = {
        "disks": disks,
        "cdroms": cdroms,
        "nics": nics,
        "serial_ports": [],
        "floppies": [],
        "controllers": [],
    }
    order = [_BOOT[letter] for letter in vm.get("boot_order") or "" if letter in _BOOT]
    info["boot_order"] = [{"type": kind} for kind in order]
    return info


def check_disks(vm: Json) -> None:
    """Raises where a disk cannot be cloned, with its name and the reason."""
    unfit = [disk for disk in copied_disks(vm) if not disk["snapshot_compatible"]]
    if unfit:
        reasons = "; ".join(
            f"{disk['name'] or disk['path']}: {disk.get('reason') or 'no reason is given'}"
            for disk in unfit
        )
        raise ProviderError(
            f"{_called(vm)} cannot be replicated by snapshots of its repository ({reasons}). Move these "
            "disks to a repository that can clone (OCFS2, XFS, btrfs), or replicate the machine in "
            "Coriolis's generic way, from inside"
        )


def find(vms: List[Json], name: str) -> List[Json]:
    """By id, by ``name`` or ``uuid`` of its vm.cfg, or else by the name that people gave it."""
    exact = [vm for vm in vms if name in (vm["id"], vm["name"], vm["uuid"])]
    return exact or [vm for vm in vms if vm["friendly_name"] == name]


def _called(vm: Json) -> str:
    return f"machine {vm['friendly_name']!r} ({vm['id']})"


def _system(told: Any) -> str:
    text = str(told or "").lower()
    return next((kind for word, kind in _SYSTEMS if word in text), "other")
